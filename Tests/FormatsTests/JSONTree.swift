import ABNTensors

@testable import ABNFormats

/// A whole JSON text as a value, made by `JSONScanner`; members keep their order, numbers their
/// spelling.
indirect enum JSONTree: Hashable {
  case null
  case boolean(Bool)
  case number(String)
  case string(String)
  case array([JSONTree])
  case object([Member])

  struct Member: Hashable {
    var name: String
    /// The byte in the text at which the name starts.
    var offset: Int
    var value: JSONTree
  }

  init(parsing text: [UInt8], fault: @escaping (Int, String, String) -> ABNError) throws {
    var scanner = JSONScanner(text, fault: fault)
    self = try Self.value(&scanner)
    try scanner.finish()
  }

  private static func value(_ scanner: inout JSONScanner) throws -> JSONTree {
    switch try scanner.kind() {
    case .object:
      var members: [Member] = []
      try scanner.object { scanner, name, offset in
        members.append(Member(name: name, offset: offset, value: try value(&scanner)))
      }
      return .object(members)
    case .array:
      var values: [JSONTree] = []
      try scanner.array { values.append(try value(&$0)) }
      return .array(values)
    case .string: return .string(try scanner.string())
    case .number: return .number(try scanner.number())
    case .word: return try scanner.word().map { .boolean($0) } ?? .null
    }
  }
}
