import ABNTensors

/// What stands before the elements of a safetensors file.
struct SafetensorsHeader {
  private(set) var metadata: [String: String] = [:]
  private(set) var records: [SafetensorsRecord] = []
  /// The byte of the file at which the elements begin.
  let dataOffset: Int

  /// Reads and checks the header of a file.
  init(_ source: ByteSource) throws {
    let lengthBytes = 8
    let length = try source.bytes(at: 0, count: lengthBytes).littleEndian(UInt64.self, at: 0)
    let mostBytes = Safetensors.mostHeaderBytes
    guard length <= mostBytes, Int(length) <= source.byteCount - lengthBytes else {
      throw source.fault(
        at: 0, got: "a header of \(length) bytes",
        wanted: "at most \(min(mostBytes, source.byteCount - lengthBytes)) bytes",
        fix: "The file is cut off or no safetensors file.")
    }
    let text = try source.bytes(at: lengthBytes, count: Int(length))
    guard text.first == UInt8(ascii: "{") else {
      throw source.fault(at: lengthBytes, got: "a header without '{'", wanted: "a JSON object")
    }
    dataOffset = lengthBytes + text.count
    var scanner = JSONScanner(text, mostDepth: source.limits.mostDepth) { offset, got, wanted in
      source.fault(at: lengthBytes + offset, got: got, wanted: wanted)
    }
    var metadata: [String: String] = [:]
    var records: [SafetensorsRecord] = []
    try scanner.object { scanner, name, offset in
      let at = lengthBytes + offset
      if name == Safetensors.metadataName {
        metadata = try Self.readMetadata(&scanner, source, at)
      } else {
        try source.admitEntry { source.fault(at: at, got: $0, wanted: $1, fix: $2) }
        records.append(try SafetensorsRecord(&scanner, name, source, at))
      }
    }
    try scanner.finish()
    self.metadata = metadata
    self.records = records
    try checkPlaces(source)
  }

  private static func readMetadata(
    _ scanner: inout JSONScanner, _ source: ByteSource, _ at: Int
  ) throws -> [String: String] {
    guard try scanner.kind() == .object else {
      throw source.fault(
        at: at, got: "\(Safetensors.metadataName) of another kind", wanted: "a JSON object")
    }
    var metadata: [String: String] = [:]
    try scanner.object { scanner, name, _ in
      guard try scanner.kind() == .string else {
        throw source.fault(
          at: at, got: "\(Safetensors.metadataName) \(quoted(name)) that is no string",
          wanted: "strings only")
      }
      metadata[name] = try scanner.string()
    }
    return metadata
  }

  /// Checks that the tensors fill the data one after the other, without overlap or hole.
  private func checkPlaces(_ source: ByteSource) throws {
    let dataBytes = source.byteCount - dataOffset
    var end = 0
    var last = "the header"
    let sorted = records.sorted {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    for record in sorted {
      guard record.range.lowerBound == end else {
        let what = record.range.lowerBound < end ? "an overlap with" : "a hole after"
        throw source.fault(
          at: record.at, got: "\(quoted(record.name)) with \(what) \(last)",
          wanted: "data_offsets that start at \(end)", fix: "The file is damaged.")
      }
      end = record.range.upperBound
      last = quoted(record.name)
    }
    guard end == dataBytes else {
      throw source.fault(
        at: dataOffset, got: "\(dataBytes) bytes of data",
        wanted: "\(end) as the header says", fix: "The file is cut off or damaged.")
    }
  }
}

/// What the header says of one tensor.
struct SafetensorsRecord {
  let name: String
  let type: SafetensorsType
  let shape: Shape
  /// Its bytes in the data.
  let range: Range<Int>
  /// The byte of the file at which its name stands.
  let at: Int

  /// Reads the value of the member `name`, which is next.
  init(_ scanner: inout JSONScanner, _ name: String, _ source: ByteSource, _ at: Int) throws {
    func fault(
      _ got: String, _ wanted: String, _ category: ABNError.Category = .file, fix: String = ""
    ) -> ABNError {
      source.fault(
        category, at: at, got: "tensor \(quoted(name)): \(got)", wanted: wanted, fix: fix)
    }
    guard try scanner.kind() == .object else {
      throw fault("no JSON object", "dtype, shape and data_offsets")
    }
    var type: SafetensorsType?
    var dimensions: [Int]?
    var offsets: [Int]?
    try scanner.object { scanner, key, _ in
      switch key {
      case "dtype":
        guard try scanner.kind() == .string else {
          throw fault("a dtype that is no string", "a string")
        }
        type = SafetensorsType(try scanner.string())
      case "shape":
        dimensions = try Self.integers(&scanner, key, fault)
        try source.admit(dimensions: dimensions!.count) { fault($0, $1, fix: $2) }
      case "data_offsets": offsets = try Self.integers(&scanner, key, fault)
      default: try scanner.skip()
      }
    }
    guard let type, let dimensions, let offsets else {
      let missing = type == nil ? "dtype" : dimensions == nil ? "shape" : "data_offsets"
      throw fault("no \(missing)", "dtype, shape and data_offsets")
    }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw fault("data_offsets \(offsets)", "[start, end]")
    }
    let range = offsets[0]..<offsets[1]
    if let size = type.bytes {
      guard let count = checkedBytes(of: dimensions, .uint8),
        count.multipliedReportingOverflow(by: size) == (range.count, false)
      else {
        throw fault(
          "data_offsets \(offsets)", "the bytes of shape \(Shape(dimensions)) of \(type.name)")
      }
    }
    (self.name, self.type, self.at, self.range) = (name, type, at, range)
    shape = Shape(dimensions)
  }

  private static func integers(
    _ scanner: inout JSONScanner, _ key: String,
    _ fault: (String, String, ABNError.Category, String) -> ABNError
  ) throws -> [Int] {
    guard try scanner.kind() == .array else {
      throw fault("\(key) that is no array", "an array of numbers", .file, "")
    }
    var numbers: [Int] = []
    try scanner.array { scanner in
      guard try scanner.kind() == .number, let number = Int(try scanner.number()), number >= 0
      else {
        throw fault("\(key) with something else", "whole numbers from 0 to 2^63 - 1", .file, "")
      }
      numbers.append(number)
    }
    return numbers
  }

  /// Reads the elements.
  func read(_ source: ByteSource, dataOffset: Int) throws -> Tensor {
    guard let dtype = type.dtype else {
      throw source.fault(
        .unsupported, at: at, got: "tensor \(quoted(name)): dtype \(type.name)",
        wanted: "one of \(SafetensorsType.known.joined(separator: ", "))",
        fix: "Read the other tensors by their names.")
    }
    guard let bytes = checkedBytes(of: shape.dimensions, dtype) else {
      throw source.fault(
        at: at, got: "shape \(shape) of \(dtype)", wanted: "fewer than 2^60 elements")
    }
    try source.admit(dimensions: shape.rank, bytes: bytes) {
      source.fault(at: at, got: "tensor \(quoted(name)): \($0)", wanted: $1, fix: $2)
    }
    var tensor = try Tensor(uninitialized: shape, dtype: dtype).checked()
    let start = dataOffset + range.lowerBound
    if let foreign = type.foreign {
      try foreign.read(source, at: start, into: &tensor)
    } else {
      try tensor.withUnsafeMutableBytes { try source.read(at: start, into: $0) }
    }
    if let place = tensor.firstInvalidBoolean {
      throw source.fault(
        .data, at: start + place, got: "a boolean that is neither 0 nor 1", wanted: "0 or 1")
    }
    return tensor
  }
}
