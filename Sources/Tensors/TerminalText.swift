/// Text in columns of a terminal.
package enum TerminalText {
  /// How many columns a text takes: two for a wide character (CJK, emoji), none for a mark that is
  /// written over the one before.
  package static func columns(of text: some StringProtocol) -> Int {
    text.utf8.allSatisfy { $0 < 0x80 }
      ? text.utf8.count : text.reduce(0) { $0 + columns(of: $1) }
  }

  /// The text in exactly so many columns: filled up with spaces, or cut in its middle, where `..`
  /// stands then. Control characters and line breaks are spelled out before.
  package static func fitted(
    _ text: String, to columns: Int, isAlignedRight: Bool = false
  ) -> String {
    let short = shortened(DisplayText.line(text), to: columns)
    let space = String(repeating: " ", count: max(0, columns - Self.columns(of: short)))
    return isAlignedRight ? space + short : short + space
  }

  /// The beginning of the text that fits into so many columns.
  package static func prefix(_ text: some StringProtocol, columns: Int) -> String {
    var room = columns
    return String(
      text.prefix {
        room -= Self.columns(of: $0)
        return room >= 0
      })
  }

  private static func shortened(_ text: String, to columns: Int) -> String {
    guard Self.columns(of: text) > columns else { return text }
    let mark = columns >= 6 ? ".." : ""
    let tail = columns >= 6 ? (columns - 2) / 2 : 0
    let end = String(prefix(String(text.reversed()), columns: tail).reversed())
    return prefix(text, columns: columns - mark.count - tail) + mark + end
  }

  private static func columns(of character: Character) -> Int {
    guard let first = character.unicodeScalars.first else { return 0 }
    switch first.properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format, .control: return 0
    default: break
    }
    if character.unicodeScalars.contains(where: { $0.value == 0xfe0f }) { return 2 }
    return isWide(first) ? 2 : 1
  }

  /// East Asian Wide and Fullwidth (Unicode's UAX #11), by their blocks.
  private static func isWide(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xa960...0xa97c, 0xac00...0xd7a3,
      0xf900...0xfaff, 0xfe10...0xfe19, 0xfe30...0xfe6f, 0xff00...0xff60, 0xffe0...0xffe6,
      0x1_f300...0x1_f64f, 0x1_f680...0x1_f6ff, 0x1_f900...0x1_f9ff, 0x2_0000...0x3_fffd:
      true
    default: scalar.properties.isEmojiPresentation
    }
  }
}
