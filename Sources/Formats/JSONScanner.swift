import ABNTensors

/// Reads a JSON text (RFC 8259) from front to back. It keeps nothing but its place: what a value
/// becomes, and whether it is kept, is the caller's business.
///
/// Refused: names that appear twice in an object, and more levels than the limit.
struct JSONScanner {
  /// What a value is, by its first character.
  enum Kind {
    case object, array, string, number, word
  }

  private let text: [UInt8]
  private let mostDepth: Int
  private let fault: (Int, String, String) -> ABNError
  private var depth = 0
  /// The next byte of the text.
  private(set) var position = 0

  /// A scanner at the start of a text.
  ///
  /// - Parameter fault: makes the error for the byte at an offset in the text: got, wanted.
  init(
    _ text: [UInt8], mostDepth: Int = ReadLimits().mostDepth,
    fault: @escaping (Int, String, String) -> ABNError
  ) {
    self.text = text
    self.mostDepth = min(max(mostDepth, 1), 512)
    self.fault = fault
  }

  private mutating func skipSpace() {
    while position < text.count, text[position] <= 0x20 {
      let byte = text[position]
      guard byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d else { return }
      position += 1
    }
  }

  private func unexpected(_ wanted: String) -> ABNError {
    let rest = text[position...].prefix(12)
    let got =
      rest.isEmpty
      ? "the end of the text" : quoted(String(decoding: rest, as: UTF8.self))
    return fault(position, got, wanted)
  }

  private mutating func take(_ character: UInt8) -> Bool {
    skipSpace()
    guard position < text.count, text[position] == character else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: UInt8) throws {
    if !take(character) { throw unexpected("'\(Unicode.Scalar(character))'") }
  }

  /// What comes next.
  mutating func kind() throws -> Kind {
    skipSpace()
    guard position < text.count else { throw unexpected("a value") }
    switch text[position] {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"): return .word
    default: return .number
    }
  }

  /// Checks that only white space follows.
  mutating func finish() throws {
    skipSpace()
    if position < text.count { throw unexpected("the end of the text") }
  }

  /// Reads an object.
  ///
  /// - Parameter body: reads the value of a member, which is next; gets the member's name and the
  ///   byte in the text at which it starts.
  mutating func object(_ body: (inout JSONScanner, String, Int) throws -> Void) throws {
    try enter(UInt8(ascii: "{"))
    var names: Set<String> = []
    if !take(UInt8(ascii: "}")) {
      repeat {
        skipSpace()
        let start = position
        let name = try string()
        guard names.insert(name).inserted else {
          throw fault(start, "the name \(quoted(name)) twice", "each name once")
        }
        try expect(UInt8(ascii: ":"))
        try body(&self, name, start)
      } while take(UInt8(ascii: ","))
      try expect(UInt8(ascii: "}"))
    }
    depth -= 1
  }

  /// Reads an array.
  ///
  /// - Parameter body: reads an element, which is next.
  mutating func array(_ body: (inout JSONScanner) throws -> Void) throws {
    try enter(UInt8(ascii: "["))
    if !take(UInt8(ascii: "]")) {
      repeat { try body(&self) } while take(UInt8(ascii: ","))
      try expect(UInt8(ascii: "]"))
    }
    depth -= 1
  }

  private mutating func enter(_ bracket: UInt8) throws {
    guard depth < mostDepth else {
      throw fault(position, "more than \(mostDepth) levels", "at most \(mostDepth) levels")
    }
    try expect(bracket)
    depth += 1
  }

  /// Reads any value and forgets it.
  mutating func skip() throws {
    switch try kind() {
    case .object: try object { scanner, _, _ in try scanner.skip() }
    case .array: try array { scanner in try scanner.skip() }
    case .string: _ = try string()
    case .number: _ = try number()
    case .word: _ = try word()
    }
  }

  /// `true`, `false`, or nil for `null`.
  mutating func word() throws -> Bool? {
    skipSpace()
    for (word, value) in [("true", true), ("false", false), ("null", nil)] as [(String, Bool?)] {
      if text[position...].starts(with: word.utf8) {
        position += word.utf8.count
        return value
      }
    }
    throw unexpected("a value")
  }

  /// A number, as it is spelled.
  mutating func number() throws -> String {
    skipSpace()
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
    return String(decoding: text[start..<position], as: UTF8.self)
  }

  /// A string; see `String.checked` for what is refused.
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
        bytes += String(try escape()).utf8
      } else {
        bytes.append(byte)
      }
    }
    return try String.checked(bytes) { fault(start, $0, $1) }
  }

  /// The character for an escape whose backslash has been read.
  private mutating func escape() throws -> Unicode.Scalar {
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

  private mutating func hexadecimal() throws -> UInt32 {
    let digits = text[position...].prefix(4)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw unexpected("four hexadecimal digits") }
    position += 4
    return value
  }
}
