import ABNTensors

/// A JSON text (RFC 8259) as a value; members keep their order, numbers their spelling.
indirect enum JSON: Hashable {
  case null
  case boolean(Bool)
  case number(String)
  case string(String)
  case array([JSON])
  case object([Member])

  struct Member: Hashable {
    var name: String
    /// The byte in the text at which the name starts.
    var offset: Int
    var value: JSON
  }

  /// Parses a whole text; refuses names that appear twice in an object, and more than 64 levels.
  ///
  /// - Parameter fault: makes the error for the byte at an offset in the text: got, wanted.
  init(parsing text: [UInt8], fault: @escaping (Int, String, String) -> ABNError) throws {
    var parser = Parser(text: text, fault: fault)
    self = try parser.value(depth: 0)
    parser.skipSpace()
    if parser.position < text.count { throw parser.unexpected("the end of the text") }
  }

  /// The text of a string with its quotes.
  static func quoted(_ string: String) -> String {
    var text = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }

  private struct Parser {
    let text: [UInt8]
    let fault: (Int, String, String) -> ABNError
    var position = 0

    mutating func skipSpace() {
      while position < text.count, [0x20, 0x09, 0x0a, 0x0d].contains(text[position]) {
        position += 1
      }
    }

    func unexpected(_ wanted: String) -> ABNError {
      let rest = text[position...].prefix(12)
      let got =
        rest.isEmpty
        ? "the end of the text" : String(decoding: rest, as: UTF8.self).debugDescription
      return fault(position, got, wanted)
    }

    mutating func take(_ character: UInt8) -> Bool {
      skipSpace()
      guard position < text.count, text[position] == character else { return false }
      position += 1
      return true
    }

    mutating func expect(_ character: Character) throws {
      if !take(character.asciiValue!) { throw unexpected("'\(character)'") }
    }

    mutating func value(depth: Int) throws -> JSON {
      guard depth < 64 else { throw fault(position, "more than 64 levels", "at most 64 levels") }
      skipSpace()
      guard position < text.count else { throw unexpected("a value") }
      switch text[position] {
      case UInt8(ascii: "{"): return try object(depth: depth)
      case UInt8(ascii: "["): return try array(depth: depth)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"): return try word("true", .boolean(true))
      case UInt8(ascii: "f"): return try word("false", .boolean(false))
      case UInt8(ascii: "n"): return try word("null", .null)
      default: return try number()
      }
    }

    mutating func word(_ word: String, _ value: JSON) throws -> JSON {
      guard text[position...].starts(with: word.utf8) else { throw unexpected("a value") }
      position += word.utf8.count
      return value
    }

    mutating func object(depth: Int) throws -> JSON {
      var members: [Member] = []
      var names: Set<String> = []
      try expect("{")
      if take(UInt8(ascii: "}")) { return .object([]) }
      repeat {
        skipSpace()
        let start = position
        let name = try string()
        guard names.insert(name).inserted else {
          throw fault(start, "the name \(name.debugDescription) twice", "each name once")
        }
        try expect(":")
        members.append(Member(name: name, offset: start, value: try value(depth: depth + 1)))
      } while take(UInt8(ascii: ","))
      try expect("}")
      return .object(members)
    }

    mutating func array(depth: Int) throws -> JSON {
      var values: [JSON] = []
      try expect("[")
      if take(UInt8(ascii: "]")) { return .array([]) }
      repeat { values.append(try value(depth: depth + 1)) } while take(UInt8(ascii: ","))
      try expect("]")
      return .array(values)
    }

    mutating func number() throws -> JSON {
      let start = position
      var rest = text[position...]
      func digits() -> Int {
        let count = rest.prefix { (0x30...0x39).contains($0) }.count
        rest = rest.dropFirst(count)
        return count
      }
      func drop(_ allowed: String) -> Bool {
        guard let first = rest.first, allowed.utf8.contains(first) else { return false }
        rest = rest.dropFirst()
        return true
      }
      _ = drop("-")
      let startsWithZero = rest.first == 0x30
      let whole = digits()
      guard whole > 0, !(startsWithZero && whole > 1) else { throw unexpected("a value") }
      if drop("."), digits() == 0 { throw unexpected("a number") }
      if drop("eE") {
        _ = drop("+-")
        if digits() == 0 { throw unexpected("a number") }
      }
      position = rest.startIndex
      return .number(String(decoding: text[start..<position], as: UTF8.self))
    }

    mutating func string() throws -> String {
      skipSpace()
      let start = position
      guard position < text.count, text[position] == UInt8(ascii: "\"") else {
        throw unexpected("a string")
      }
      position += 1
      var bytes: [UInt8] = []
      while true {
        guard position < text.count else { throw unexpected("the end of a string") }
        let byte = text[position]
        if byte < 0x20 { throw unexpected("no control character in a string") }
        position += 1
        if byte == UInt8(ascii: "\"") { break }
        if byte == UInt8(ascii: "\\") {
          bytes += Array(String(Character(try escape())).utf8)
        } else {
          bytes.append(byte)
        }
      }
      guard let string = String(validating: bytes, as: UTF8.self) else {
        throw fault(start, "a string that is not UTF-8", "UTF-8")
      }
      return string
    }

    /// The character for an escape whose backslash has been read.
    mutating func escape() throws -> Unicode.Scalar {
      guard position < text.count else { throw unexpected("an escape") }
      let letter = text[position]
      position += 1
      switch letter {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
      case UInt8(ascii: "b"): return "\u{8}"
      case UInt8(ascii: "f"): return "\u{c}"
      case UInt8(ascii: "n"): return "\n"
      case UInt8(ascii: "r"): return "\r"
      case UInt8(ascii: "t"): return "\t"
      case UInt8(ascii: "u"):
        let start = position
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        // A surrogate: the upper half, then the lower one.
        if first < 0xdc00, text[position...].starts(with: "\\u".utf8) {
          position += 2
          let second = try hexadecimal()
          if (0xdc00...0xdfff).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
          {
            return scalar
          }
        }
        throw fault(start, "half of a surrogate pair", "a pair")
      default:
        position -= 1
        throw unexpected("an escape")
      }
    }

    mutating func hexadecimal() throws -> UInt32 {
      let digits = text[position...].prefix(4)
      guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
        let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
      else { throw unexpected("four hexadecimal digits") }
      position += 4
      return value
    }
  }
}
