import ABNTensors

/// One variable as the original writes it: versions, level of detail, description, elements.
struct PaddleRecord {
  let tensor: Tensor
  let levels: [[Int]]
  /// The byte behind the record.
  let end: Int

  /// The longest description that is read or written: far more than the nine dimensions that the
  /// original allows need, far less than what could exhaust the memory.
  static let mostDescriptionBytes = 1024

  /// Reads the record that starts at byte `start`.
  init(_ source: ByteSource, at start: Int) throws {
    var cursor = Cursor(source: source, offset: start)
    try cursor.expectVersion("the variable")
    let levelsOffset = cursor.offset
    let levels = try Self.readLevels(&cursor)
    try cursor.expectVersion("the tensor")
    let sizeOffset = cursor.offset
    let size = Int(try cursor.integer(Int32.self))
    guard (0...Self.mostDescriptionBytes).contains(size) else {
      throw source.fault(
        at: sizeOffset, got: "a description of \(size) bytes",
        wanted: "0...\(Self.mostDescriptionBytes)", fix: "The file is damaged.")
    }
    let description = try PaddleDescription(
      source.bytes(at: cursor.offset, count: size), source, at: cursor.offset)
    let dataOffset = cursor.offset + size
    let left = source.byteCount - dataOffset
    let shape = Shape(description.dimensions)
    guard let bytes = checkedBytes(of: description.dimensions, description.dtype), bytes <= left
    else {
      throw source.fault(
        at: cursor.offset, got: "shape \(shape) of \(description.dtype)",
        wanted: "a shape whose elements fit into the \(left) bytes that follow",
        fix: "The file is cut off or damaged.")
    }
    if let mistake = Self.mistake(in: levels, rows: shape.dimensions.first) {
      throw source.fault(
        at: levelsOffset, got: mistake.got, wanted: mistake.wanted, fix: "The file is damaged.")
    }
    try source.admit(dimensions: shape.rank, bytes: bytes) {
      source.fault(at: cursor.offset, got: $0, wanted: $1, fix: $2)
    }
    var tensor = try Tensor(uninitialized: shape, dtype: description.dtype).checked()
    try tensor.withUnsafeMutableBytes { try source.read(at: dataOffset, into: $0) }
    if let place = tensor.firstInvalidBoolean {
      throw source.fault(
        .data, at: dataOffset + place, got: "a boolean that is neither 0 nor 1", wanted: "0 or 1")
    }
    self.tensor = tensor
    self.levels = levels
    end = dataOffset + bytes
  }

  /// The bytes in front of the elements, or nil where the format cannot say the type or shape.
  static func header(_ tensor: Tensor, levels: [[Int]]) -> [UInt8]? {
    guard let code = PaddleDescription.code(of: tensor.dtype) else { return nil }
    var description: [UInt8] = [0x08]
    description.appendVarint(code)
    for dimension in tensor.shape.dimensions {
      description.append(0x10)
      description.appendVarint(UInt64(dimension))
    }
    guard description.count <= mostDescriptionBytes else { return nil }
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt32(0))
    bytes.appendLittleEndian(UInt64(levels.count))
    for level in levels {
      bytes.appendLittleEndian(UInt64(level.count * 8))
      for offset in level { bytes.appendLittleEndian(UInt64(offset)) }
    }
    bytes.appendLittleEndian(UInt32(0))
    bytes.appendLittleEndian(Int32(description.count))
    return bytes + description
  }

  /// What is wrong with a level of detail for a tensor of this many rows, if anything.
  static func mistake(in levels: [[Int]], rows: Int?) -> (got: String, wanted: String)? {
    for (number, level) in levels.enumerated() {
      let entries = "level \(number) of the level of detail"
      guard level.count >= 2, level[0] == 0 else {
        return ("\(entries) with offsets \(level.prefix(4))", "at least two, the first of them 0")
      }
      if let place = level.indices.dropFirst().first(where: { level[$0] < level[$0 - 1] }) {
        return ("\(entries) with \(level[place]) after \(level[place - 1])", "ascending offsets")
      }
      let isLast = number == levels.count - 1
      let wanted = isLast ? rows ?? 1 : levels[number + 1].count - 1
      guard level[level.count - 1] == wanted else {
        return (
          "\(entries) that ends at \(level[level.count - 1])",
          "\(wanted), the number of \(isLast ? "rows" : "parts of the next level")"
        )
      }
    }
    return nil
  }

  private static func readLevels(_ cursor: inout Cursor) throws -> [[Int]] {
    let source = cursor.source
    let countOffset = cursor.offset
    let count = try cursor.integer(UInt64.self)
    // Each level takes at least the 8 bytes of its size.
    guard count <= (source.byteCount - cursor.offset) / 8 else {
      throw source.fault(
        at: countOffset, got: "\(count) levels of detail",
        wanted: "as many as fit into the \(source.byteCount - cursor.offset) bytes that follow",
        fix: "The file is cut off or damaged.")
    }
    var levels: [[Int]] = []
    for _ in 0..<count {
      let sizeOffset = cursor.offset
      let size = try cursor.integer(UInt64.self)
      let left = source.byteCount - cursor.offset
      // An empty level is refused here: it would let a small file ask for many arrays.
      guard size > 0, size % 8 == 0, size <= left else {
        throw source.fault(
          at: sizeOffset, got: "a level of detail of \(size) bytes",
          wanted: "a multiple of 8 bytes from 8 to \(left)", fix: "The file is cut off or damaged.")
      }
      let bytes = try source.bytes(at: cursor.offset, count: Int(size))
      levels.append(
        try stride(from: 0, to: bytes.count, by: 8).map { place in
          guard let offset = Int(exactly: bytes.littleEndian(UInt64.self, at: place)) else {
            throw source.fault(
              at: cursor.offset + place, got: "an offset beyond 2^63 - 1",
              wanted: "the number of a row")
          }
          return offset
        })
      cursor.offset += bytes.count
    }
    return levels
  }

  private struct Cursor {
    let source: ByteSource
    var offset: Int

    mutating func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
      let bytes = try source.bytes(at: offset, count: MemoryLayout<I>.size)
      offset += bytes.count
      return bytes.littleEndian(I.self, at: 0)
    }

    mutating func expectVersion(_ what: String) throws {
      let start = offset
      let version = try integer(UInt32.self)
      guard version == 0 else {
        throw source.fault(
          at: start, got: "version \(version) of \(what)", wanted: "version 0",
          fix: "The file is damaged or no parameter file.")
      }
    }
  }
}

/// The protobuf message `VarType.TensorDesc`: field 1 the element type, field 2 the dimensions.
struct PaddleDescription {
  let dtype: DType
  let dimensions: [Int]

  /// The number of an element type in `VarType.Type`; nil for bfloat16, which version 1.8 has not.
  static func code(of dtype: DType) -> UInt64? {
    switch dtype {
    case .bool: 0
    case .int32: 2
    case .int64: 3
    case .float16: 4
    case .float32: 5
    case .float64: 6
    case .uint8: 20
    case .int8: 21
    case .bfloat16: nil
    }
  }

  /// Parses the message in `bytes`, which stand at byte `start` of the source.
  init(_ bytes: [UInt8], _ source: ByteSource, at start: Int) throws {
    var place = 0
    func fault(_ at: Int, _ got: String, _ wanted: String) -> ABNError {
      source.fault(at: start + at, got: got, wanted: wanted, fix: "The file is damaged.")
    }
    func varint(before end: Int) throws -> UInt64 {
      let first = place
      var value: UInt64 = 0
      for shift in stride(from: 0, through: 63, by: 7) {
        guard place < end else {
          throw fault(first, "a number that its field cuts off", "a whole number")
        }
        let byte = bytes[place]
        place += 1
        // The tenth byte holds the one bit that is left of 64.
        if shift == 63 && byte > 1 { break }
        value |= UInt64(byte & 0x7f) << UInt64(shift)
        if byte < 0x80 { return value }
      }
      throw fault(first, "a number of more than 64 bits", "a varint of at most 10 bytes")
    }
    func dimension(before end: Int) throws -> Int {
      let first = place
      let value = Int64(bitPattern: try varint(before: end))
      guard value >= 0 else { throw fault(first, "dimension \(value)", "0...2^63 - 1") }
      return Int(value)
    }
    var found: DType?
    var dimensions: [Int] = []
    while place < bytes.count {
      let first = place
      switch try varint(before: bytes.count) {
      case 0x08:
        let at = place
        let code = try varint(before: bytes.count)
        guard found == nil else { throw fault(first, "the element type twice", "one element type") }
        guard let dtype = DType.allCases.first(where: { Self.code(of: $0) == code }) else {
          throw source.fault(
            .unsupported, at: start + at, got: "element type \(code)",
            wanted: "one of 0 (bool), 2 (int32), 3 (int64), 4 (float16), 5 (float32), "
              + "6 (float64), 20 (uint8), 21 (int8)")
        }
        found = dtype
      case 0x10: dimensions.append(try dimension(before: bytes.count))
      case 0x12:
        // The same field packed, as later compilers of the format may write it.
        let count = try varint(before: bytes.count)
        guard count <= bytes.count - place else {
          throw fault(first, "\(count) bytes of dimensions", "at most \(bytes.count - place)")
        }
        let end = place + Int(count)
        while place < end { dimensions.append(try dimension(before: end)) }
      case let tag:
        throw fault(first, "field \(tag >> 3) of wire type \(tag & 7)", "fields 1 and 2")
      }
    }
    guard let found else {
      throw fault(0, "a description without element type", "an element type")
    }
    dtype = found
    self.dimensions = dimensions
  }
}

extension [UInt8] {
  /// Appends a number in the variable-length code of protobuf: 7 bits a byte, lowest first.
  mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(rest))
  }
}
