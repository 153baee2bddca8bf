/// A JSON value (RFC 8259) to be written: everything in JSON that leaves this package is written
/// here. It is read by `JSONScanner`.
package enum JSON: Sendable {
  case null
  case bool(Bool)
  /// A number as it is spelled.
  case literal(String)
  case string(String)
  case array([JSON])
  /// The members in the order in which they are written.
  case object([(name: String, value: JSON)])

  /// A whole number, in all its digits.
  package static func integer(_ value: some BinaryInteger) -> JSON { .literal("\(value)") }

  /// A number in the fewest digits that are read back as it. JSON has no infinity and no NaN: they
  /// are null.
  package static func number(_ value: Double) -> JSON {
    guard value.isFinite else { return .null }
    let text = "\(value)"
    return .literal(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
  }

  /// The text in one line, without spaces.
  package var line: String {
    var text = ""
    write(to: &text, indent: nil)
    return text
  }

  /// The text with a line for each member and element, and a line break at its end.
  package var lines: String {
    var text = ""
    write(to: &text, indent: 0)
    return text + "\n"
  }

  private func write(to text: inout String, indent: Int?) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .literal(let spelling): text += spelling
    case .string(let value): text += Self.quoted(value)
    case .array(let elements):
      Self.write(elements, between: ("[", "]"), to: &text, indent: indent) { element, text, inner in
        element.write(to: &text, indent: inner)
      }
    case .object(let members):
      Self.write(members, between: ("{", "}"), to: &text, indent: indent) { member, text, inner in
        text += Self.quoted(member.name) + (inner == nil ? ":" : ": ")
        member.value.write(to: &text, indent: inner)
      }
    }
  }

  private static func write<Item>(
    _ items: [Item], between ends: (String, String), to text: inout String, indent: Int?,
    _ body: (Item, inout String, Int?) -> Void
  ) {
    text += ends.0
    let inner = indent.map { $0 + 2 }
    for (index, item) in items.enumerated() {
      if index > 0 { text += "," }
      if let inner { text += "\n" + String(repeating: " ", count: inner) }
      body(item, &text, inner)
    }
    if let indent, !items.isEmpty { text += "\n" + String(repeating: " ", count: indent) }
    text += ends.1
  }

  /// The text of a string with its quotes. `<` and the line breaks of Unicode are spelled out too,
  /// so that the text can stand in a script of a page and no name ends it.
  package static func quoted(_ string: String) -> String {
    var text = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{0}"..<" ", "<", "\u{7f}", "\u{2028}", "\u{2029}":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
