import ABNTensors

/// The file format of named tensors from Hugging Face (`.safetensors`).
///
/// A 64-bit little-endian length, a JSON header of that length
/// (`{"__metadata__": {...}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}`),
/// and the row-major little-endian elements without holes. The nine element types of `DType` are
/// F16, BF16, F32, F64, I8, U8, I32, I64 and BOOL.
///
/// Source: huggingface/safetensors, README "Format".
public enum Safetensors {
  /// The longest header that is read or written, in bytes.
  public static let mostHeaderBytes = 100_000_000

  /// Reads the tensors and the metadata of a file.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged: a header that is too
  ///   long or no JSON, offsets that overlap, leave holes or do not fit shape or file;
  ///   `ABNError(.unsupported)` for another element type; `ABNError(.data)` for a boolean that is
  ///   neither 0 nor 1.
  public static func read(
    path: String
  ) throws -> (tensors: [String: Tensor], metadata: [String: String]) {
    try read(ByteSource(path: path, kind: "safetensors"))
  }

  /// Writes tensors and metadata; the file appears whole or not at all (see `AtomicFile`).
  ///
  /// Equal contents give equal files: wide element types first, so that all are aligned, then by
  /// name.
  ///
  /// - Throws: `ABNError(.name)` for a tensor called `__metadata__`, `ABNError(.unsupported)` where
  ///   the header would exceed `mostHeaderBytes`, `ABNError(.file)` where the file cannot be
  ///   written.
  public static func write(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
  ) throws {
    if tensors[metadataName] != nil {
      throw ABNError(
        .name, "safetensors file \"\(path)\"", got: "a tensor called \(metadataName)",
        wanted: "another name: this one is reserved for the metadata")
    }
    let sorted = tensors.sorted {
      ($1.value.dtype.bytes, $0.key) < ($0.value.dtype.bytes, $1.key)
    }
    let header = header(sorted, metadata)
    guard header.count <= mostHeaderBytes else {
      throw ABNError(
        .unsupported, "safetensors file \"\(path)\"", got: "a header of \(header.count) bytes",
        wanted: "at most \(mostHeaderBytes)", fix: "Use fewer tensors or less metadata.")
    }
    try AtomicFile.write(to: path) { writer in
      var length: [UInt8] = []
      length.appendLittleEndian(UInt64(header.count))
      try writer.write(length + header)
      for (_, tensor) in sorted { try tensor.withUnsafeBytes { try writer.write($0) } }
    }
  }

  private static let metadataName = "__metadata__"

  /// The name of an element type in the header.
  static func name(of dtype: DType) -> String {
    switch dtype {
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .float32: "F32"
    case .float64: "F64"
    case .int8: "I8"
    case .uint8: "U8"
    case .int32: "I32"
    case .int64: "I64"
    case .bool: "BOOL"
    }
  }

  private static func header(
    _ tensors: [(key: String, value: Tensor)], _ metadata: [String: String]
  ) -> [UInt8] {
    var members: [String] = []
    if !metadata.isEmpty {
      let entries = metadata.sorted { $0.key < $1.key }
        .map { "\(JSON.quoted($0.key)):\(JSON.quoted($0.value))" }
      members.append("\"\(metadataName)\":{\(entries.joined(separator: ","))}")
    }
    var offset = 0
    for (name, tensor) in tensors {
      let shape = tensor.shape.dimensions.map(String.init).joined(separator: ",")
      let end = offset + tensor.bytes
      members.append(
        "\(JSON.quoted(name)):{\"dtype\":\"\(Self.name(of: tensor.dtype))\","
          + "\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var bytes = Array("{\(members.joined(separator: ","))}".utf8)
    // The elements start at a multiple of 8 bytes.
    bytes += [UInt8](repeating: 0x20, count: (8 - bytes.count % 8) % 8)
    return bytes
  }

  static func read(
    _ source: ByteSource
  ) throws -> (tensors: [String: Tensor], metadata: [String: String]) {
    let lengthBytes = 8
    let length = try source.bytes(at: 0, count: lengthBytes).littleEndian(UInt64.self, at: 0)
    guard length <= mostHeaderBytes, Int(length) <= source.byteCount - lengthBytes else {
      throw source.fault(
        at: 0, got: "a header of \(length) bytes",
        wanted: "at most \(min(mostHeaderBytes, source.byteCount - lengthBytes)) bytes",
        fix: "The file is cut off or no safetensors file.")
    }
    let text = try source.bytes(at: lengthBytes, count: Int(length))
    guard text.first == UInt8(ascii: "{") else {
      throw source.fault(at: lengthBytes, got: "a header without '{'", wanted: "a JSON object")
    }
    let json = try JSON(parsing: text) { offset, got, wanted in
      source.fault(at: lengthBytes + offset, got: got, wanted: wanted)
    }
    guard case .object(let members) = json else {
      throw source.fault(at: lengthBytes, got: "another value", wanted: "a JSON object")
    }
    var metadata: [String: String] = [:]
    var records: [Record] = []
    for member in members {
      let at = lengthBytes + member.offset
      if member.name == metadataName {
        metadata = try readMetadata(member.value, source, at)
      } else {
        records.append(try Record(member, source, at))
      }
    }
    let dataOffset = lengthBytes + text.count
    try checkPlaces(records, source, dataBytes: source.byteCount - dataOffset)
    var tensors: [String: Tensor] = [:]
    for record in records {
      var tensor = Tensor(uninitialized: record.shape, dtype: record.dtype)
      let start = dataOffset + record.range.lowerBound
      try tensor.withUnsafeMutableBytes { try source.read(at: start, into: $0) }
      if let place = tensor.firstInvalidBoolean {
        throw source.fault(
          .data, at: start + place, got: "a boolean that is neither 0 nor 1", wanted: "0 or 1")
      }
      tensors[record.name] = tensor
    }
    return (tensors, metadata)
  }

  private static func readMetadata(
    _ value: JSON, _ source: ByteSource, _ at: Int
  ) throws -> [String: String] {
    guard case .object(let members) = value else {
      throw source.fault(at: at, got: "\(metadataName) of another kind", wanted: "a JSON object")
    }
    return try Dictionary(
      uniqueKeysWithValues: members.map { member in
        guard case .string(let text) = member.value else {
          throw source.fault(
            at: at, got: "\(metadataName) \(member.name.debugDescription) that is no string",
            wanted: "strings only")
        }
        return (member.name, text)
      })
  }

  /// Checks that the tensors fill the data one after the other, without overlap or hole.
  private static func checkPlaces(
    _ records: [Record], _ source: ByteSource, dataBytes: Int
  ) throws {
    var end = 0
    var last = "the header"
    let sorted = records.sorted {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    for record in sorted {
      guard record.range.lowerBound == end else {
        let what = record.range.lowerBound < end ? "an overlap with" : "a hole after"
        throw source.fault(
          at: record.at, got: "\"\(record.name)\" with \(what) \(last)",
          wanted: "data_offsets that start at \(end)", fix: "The file is damaged.")
      }
      end = record.range.upperBound
      last = "\"\(record.name)\""
    }
    guard end == dataBytes else {
      throw source.fault(
        at: source.byteCount - dataBytes, got: "\(dataBytes) bytes of data",
        wanted: "\(end) as the header says", fix: "The file is cut off or damaged.")
    }
  }

  /// What the header says of one tensor.
  private struct Record {
    let name: String
    let dtype: DType
    let shape: Shape
    let range: Range<Int>
    let at: Int

    init(_ member: JSON.Member, _ source: ByteSource, _ at: Int) throws {
      let name = member.name
      func fault(
        _ got: String, _ wanted: String, _ category: ABNError.Category = .file
      ) -> ABNError {
        source.fault(
          category, at: at, got: "tensor \(name.debugDescription): \(got)", wanted: wanted)
      }
      guard case .object(let fields) = member.value else {
        throw fault("no JSON object", "dtype, shape and data_offsets")
      }
      func field(_ key: String) throws -> JSON {
        guard let field = fields.first(where: { $0.name == key }) else {
          throw fault("no \(key)", "dtype, shape and data_offsets")
        }
        return field.value
      }
      func integers(_ key: String) throws -> [Int] {
        guard case .array(let values) = try field(key) else {
          throw fault("\(key) that is no array", "an array of numbers")
        }
        return try values.map { value in
          guard case .number(let text) = value, let number = Int(text), number >= 0 else {
            throw fault("\(key) with something else", "whole numbers from 0 to 2^63 - 1")
          }
          return number
        }
      }
      guard case .string(let typeName) = try field("dtype") else {
        throw fault("a dtype that is no string", "a string")
      }
      guard let dtype = DType.allCases.first(where: { Safetensors.name(of: $0) == typeName })
      else {
        let known = DType.allCases.map { Safetensors.name(of: $0) }
        throw fault("dtype \(typeName)", "one of \(known.joined(separator: ", "))", .unsupported)
      }
      let dimensions = try integers("shape")
      let offsets = try integers("data_offsets")
      guard offsets.count == 2, offsets[0] <= offsets[1] else {
        throw fault("data_offsets \(offsets)", "[start, end]")
      }
      guard let bytes = checkedBytes(of: dimensions, dtype), bytes == offsets[1] - offsets[0]
      else {
        throw fault(
          "data_offsets \(offsets)", "the bytes of shape \(Shape(dimensions)) of \(dtype)")
      }
      self.name = name
      self.dtype = dtype
      self.shape = Shape(dimensions)
      self.at = at
      range = offsets[0]..<offsets[1]
    }
  }
}
