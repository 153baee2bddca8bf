import ABNTensors

/// The dict in front of a numpy array:
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
struct NPYHeader {
  /// Makes the error for the byte at an offset in the header: category, got, wanted.
  typealias Fault = (Int, ABNError.Category, String, String) -> ABNError

  private(set) var dtype = DType.float32
  private(set) var isBigEndian = false
  private(set) var isFortran = false
  private(set) var dimensions: [Int] = []

  /// numpy's name for an element type, little endian; nil for bfloat16.
  static func descriptor(of dtype: DType) -> String? {
    switch dtype {
    case .float16: "<f2"
    case .bfloat16: nil
    case .float32: "<f4"
    case .float64: "<f8"
    case .int8: "|i1"
    case .uint8: "|u1"
    case .int32: "<i4"
    case .int64: "<i8"
    case .bool: "|b1"
    }
  }

  init(_ text: [UInt8], fault: @escaping Fault) throws {
    var scanner = Scanner(text: text, fault: fault)
    let keys = ["descr", "fortran_order", "shape"]
    var seen = [false, false, false]
    try scanner.expect("{")
    while !scanner.take("}") {
      let start = scanner.position
      let name = try scanner.string()
      let shown = String(decoding: name, as: UTF8.self)
      guard let key = keys.firstIndex(where: { name.elementsEqual($0.utf8) }) else {
        throw fault(start, .file, "the key '\(shown)'", keys.joined(separator: ", "))
      }
      guard !seen[key] else {
        throw fault(start, .file, "the key '\(shown)' twice", "each key once")
      }
      seen[key] = true
      try scanner.expect(":")
      switch key {
      case 0: (dtype, isBigEndian) = try scanner.elementType()
      case 1: isFortran = try scanner.boolean()
      default: dimensions = try scanner.tuple()
      }
      if !scanner.take(",") {
        try scanner.expect("}")
        break
      }
    }
    scanner.skipSpace()
    guard scanner.position == text.count else {
      throw fault(scanner.position, .file, "text after the dict", "the end of the header")
    }
    if let missing = seen.firstIndex(of: false) {
      throw fault(
        0, .file, "a header without '\(keys[missing])'", "descr, fortran_order and shape")
    }
  }

  /// Reads the few Python literals that numpy writes.
  private struct Scanner {
    let text: [UInt8]
    let fault: Fault
    var position = 0

    mutating func skipSpace() {
      while position < text.count, [0x20, 0x09, 0x0a, 0x0d].contains(text[position]) {
        position += 1
      }
    }

    /// Steps over `token` where it is next.
    mutating func take(_ token: String) -> Bool {
      skipSpace()
      let bytes = Array(token.utf8)
      guard text[position...].starts(with: bytes) else { return false }
      position += bytes.count
      return true
    }

    mutating func expect(_ token: String) throws {
      if !take(token) { throw unexpected(wanted: "'\(token)'") }
    }

    func unexpected(wanted: String) -> ABNError {
      let rest = text[position...].prefix(12)
      let got = rest.isEmpty ? "the end of the header" : String(decoding: rest, as: UTF8.self)
      return fault(position, .file, quoted(got), wanted)
    }

    mutating func string() throws -> ArraySlice<UInt8> {
      skipSpace()
      guard position < text.count, text[position] == 0x27 || text[position] == 0x22 else {
        throw unexpected(wanted: "a string")
      }
      let rest = text[(position + 1)...]
      guard let end = rest.firstIndex(of: text[position]),
        case let string = text[(position + 1)..<end], !string.contains(0x5c)
      else { throw unexpected(wanted: "a string without escapes") }
      position = end + 1
      return string
    }

    mutating func boolean() throws -> Bool {
      if take("True") { return true }
      if take("False") { return false }
      throw unexpected(wanted: "True or False")
    }

    mutating func tuple() throws -> [Int] {
      var values: [Int] = []
      try expect("(")
      while !take(")") {
        values.append(try integer())
        if !take(",") {
          try expect(")")
          break
        }
      }
      return values
    }

    mutating func integer() throws -> Int {
      skipSpace()
      let digits = text[position...].prefix { (0x30...0x39).contains($0) }
      guard let value = Int(String(decoding: digits, as: UTF8.self)) else {
        throw unexpected(wanted: "a number from 0 to 2^63 - 1")
      }
      position += digits.count
      // Python 2 wrote long numbers as 10L.
      _ = take("L")
      return value
    }

    mutating func elementType() throws -> (DType, isBigEndian: Bool) {
      skipSpace()
      let start = position
      let wanted = "one of f2, f4, f8, i1, u1, i4, i8, b1"
      if take("[") {
        throw fault(start, .unsupported, "an array of records", wanted)
      }
      let name = try string()
      let code = name.drop { Array("<>|=".utf8).contains($0) }
      let dtype = DType.allCases.first {
        NPYHeader.descriptor(of: $0)?.utf8.dropFirst().elementsEqual(code) == true
      }
      guard let dtype, name.count <= 3 else {
        let shown = String(decoding: name, as: UTF8.self)
        throw fault(start, .unsupported, "element type '\(shown)'", wanted)
      }
      return (dtype, name.first == UInt8(ascii: ">"))
    }
  }
}
