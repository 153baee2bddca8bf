/// Text that may come from anywhere, made fit for a terminal and a log: every error passes through
/// it.
package enum DisplayText {
  /// The most bytes that one part of an error takes of a text, before characters are written out.
  package static let mostBytes = 2048

  /// The text in one line. Control characters (escape sequences, line breaks) and characters that
  /// change the direction or the look of what follows are written as Swift writes them (`\u{1B}`,
  /// `\n`); of a longer text the beginning and the end are left, with its length between them.
  ///
  /// - Parameter mostBytes: the longest text, in bytes of UTF-8, that is not shortened.
  package static func line(_ text: String, mostBytes: Int = Self.mostBytes) -> String {
    let count = text.utf8.count
    guard count > mostBytes else { return escaped(text) }
    let tail = mostBytes / 4
    let head = mostBytes - tail
    let start = String(decoding: whole(text.utf8.prefix(head)), as: UTF8.self)
    let end = String(decoding: whole(text.utf8.suffix(tail)), as: UTF8.self)
    return "\(escaped(start)) ... (\(count) bytes) ... \(escaped(end))"
  }

  /// The bytes without a character that is cut at either end.
  private static func whole(_ part: Substring.UTF8View) -> [UInt8] {
    var bytes = Array(part.drop { $0 & 0xc0 == 0x80 })
    guard let last = bytes.lastIndex(where: { $0 & 0xc0 != 0x80 }) else { return bytes }
    let wanted = bytes[last] < 0x80 ? 1 : bytes[last] < 0xe0 ? 2 : bytes[last] < 0xf0 ? 3 : 4
    if bytes.count - last < wanted { bytes.removeSubrange(last...) }
    return bytes
  }

  private static func escaped(_ text: String) -> String {
    if text.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) { return text }
    var line = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      if isHarmless(scalar) {
        line.append(scalar)
      } else {
        line.append(contentsOf: scalar.escaped(asASCII: true).unicodeScalars)
      }
    }
    return String(line)
  }

  private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: false
    // Emoji and Indic scripts are written with the two joiners.
    case .format: scalar.value == 0x200c || scalar.value == 0x200d
    default: true
    }
  }
}

/// A name or a path as a message shows it: in quotes, and what would end them or would not be seen
/// as Swift writes it (`\"`, `\n`, `\u{1B}`).
package func quoted(_ text: some StringProtocol) -> String { String(text).debugDescription }
