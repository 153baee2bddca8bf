import ABNTensors

extension JSON {
  /// Reads a file of this package's own that holds one value. Values take up to thirty times the
  /// bytes of their text: what others wrote is scanned instead.
  ///
  /// - Parameters:
  ///   - kind: what the file is, for errors: `metrics`.
  ///   - mostBytes: of the file.
  /// - Throws: `ABNError(.file)` with the path for a file that cannot be read, is larger, or holds
  ///   something else than one value.
  package static func read(path: String, kind: String, mostBytes: Int = 1 << 23) throws -> JSON {
    let source = try ByteSource(path: path, kind: kind)
    guard source.byteCount <= mostBytes else {
      throw ABNError(
        .file, "\(kind) \(quoted(path))", got: describeBytes(source.byteCount),
        wanted: "at most \(describeBytes(mostBytes))")
    }
    return try JSON(
      parsing: source.bytes(at: 0, count: source.byteCount), as: "\(kind) \(quoted(path))")
  }

  /// The one value of a text.
  ///
  /// - Parameter what: what the text is, for errors.
  /// - Throws: `ABNError(.file)` with the byte at which it is something else.
  package init(parsing text: [UInt8], as what: String) throws {
    var scanner = JSONScanner(text) { offset, got, wanted in
      ABNError(.file, what, at: "byte \(offset)", got: got, wanted: wanted)
    }
    self = try Self.value(&scanner)
    try scanner.finish()
  }

  private static func value(_ scanner: inout JSONScanner) throws -> JSON {
    switch try scanner.kind() {
    case .object:
      var members: [(name: String, value: JSON)] = []
      try scanner.object { scanner, name, _ in members.append((name, try value(&scanner))) }
      return .object(members)
    case .array:
      var elements: [JSON] = []
      try scanner.array { elements.append(try value(&$0)) }
      return .array(elements)
    case .string: return .string(try scanner.string())
    case .number: return .literal(try scanner.number())
    case .word: return try scanner.word().map { .bool($0) } ?? .null
    }
  }

  /// The member of an object; nil where there is none, or this is no object.
  package subscript(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  /// The object with another value of a member, at its end where it is new; what is no object stays
  /// as it is.
  package func setting(_ name: String, _ value: JSON?) -> JSON {
    guard case .object(var members) = self else { return self }
    if let place = members.firstIndex(where: { $0.name == name }) {
      members.remove(at: place)
      if let value { members.insert((name, value), at: place) }
    } else if let value {
      members.append((name, value))
    }
    return .object(members)
  }

  /// The elements of an array; nil for what is none.
  package var elements: [JSON]? {
    guard case .array(let elements) = self else { return nil }
    return elements
  }
}
