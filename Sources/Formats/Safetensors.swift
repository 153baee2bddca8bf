import ABNTensors

/// The file format of named tensors from Hugging Face (`.safetensors`).
///
/// A 64-bit little-endian length, a JSON header of that length (`{"__metadata__": {...}, "name":
/// {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}`), and the row-major little-endian
/// elements without holes. The nine element types of `DType` are F16, BF16, F32, F64, I8, U8, I32,
/// I64 and BOOL. Read besides, into the smallest type that holds all their values: I16 and U16 as
/// int32, U32 and U64 as int64, and F8_E4M3, F8_E5M2, F8_E8M0, F8_E4M3FNUZ and F8_E5M2FNUZ as
/// float32, all of them exactly. A tensor of any other type stands in nobody's way who reads others
/// by name.
///
/// Source: huggingface/safetensors, README "Format".
public enum Safetensors {
  /// The longest header that is read or written, in bytes.
  package static let mostHeaderBytes = 100_000_000

  /// Reads the tensors and the metadata of a file.
  ///
  /// - Parameters:
  ///   - names: the tensors to read; nil: all. Of the others only the place is looked at.
  ///   - limits: what may be taken from the file.
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged: a header that is too
  ///   long or no JSON, offsets that overlap, leave holes or do not fit shape or file; where it
  ///   asks for more than `limits` allow; and for contents with another checksum than the metadata
  ///   state (looked at where all tensors are read). `ABNError(.name)` for a name that the file
  ///   does not have; `ABNError(.unsupported)` for an element type that is not read;
  ///   `ABNError(.data)` for a boolean that is neither 0 nor 1, and for a U64 beyond 2^63 - 1.
  public static func read(
    path: String, only names: [String]? = nil, limits: ReadLimits = ReadLimits()
  ) throws -> (tensors: [String: Tensor], metadata: [String: String]) {
    try read(ByteSource(path: path, kind: kind, limits: limits), only: names)
  }

  /// The names of the tensors in a file, sorted, and its metadata.
  ///
  /// - Throws: as `read`, where the header is damaged.
  public static func names(
    path: String, limits: ReadLimits = ReadLimits()
  ) throws -> (names: [String], metadata: [String: String]) {
    let header = try SafetensorsHeader(ByteSource(path: path, kind: kind, limits: limits))
    return (header.records.map(\.name).sorted(), header.metadata)
  }

  /// Writes tensors and metadata; the file appears whole or not at all (see `AtomicFile`).
  ///
  /// Equal contents give equal files: wide element types first, so that all are aligned, then by
  /// name. Metadata with `checksumKey` get the checksum of the contents there.
  ///
  /// - Throws: `ABNError(.name)` for a tensor called `__metadata__`, `ABNError(.unsupported)` where
  ///   the header would exceed `mostHeaderBytes`, `ABNError(.file)` where the file cannot be
  ///   written.
  public static func write(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
  ) throws {
    try AtomicFile.write(to: path, contents(tensors, metadata: metadata, for: path))
  }

  /// What `write` writes to `path`, for whoever writes it together with other files.
  ///
  /// - Throws: as `write` where tensors or metadata cannot be written.
  package static func contents(
    _ tensors: [String: Tensor], metadata: [String: String], for path: String
  ) throws -> (FileWriter) throws -> Void {
    for tensor in tensors.values { _ = try tensor.checked() }
    return try contents(TensorStream(tensors), metadata: metadata, for: path)
  }

  /// The same of tensors that are read one after the other, so that they need not be in memory
  /// together. With a checksum in the metadata each is read twice.
  package static func contents(
    _ tensors: TensorStream, metadata: [String: String], for path: String
  ) throws -> (FileWriter) throws -> Void {
    if tensors.types[metadataName] != nil {
      throw ABNError(
        .name, "safetensors file \(quoted(path))", got: "a tensor called \(metadataName)",
        wanted: "another name: this one is reserved for the metadata")
    }
    let sorted = tensors.types.sorted {
      ($1.value.dtype.bytes, $0.key) < ($0.value.dtype.bytes, $1.key)
    }
    let header = header(sorted, try withChecksum(metadata, tensors))
    guard header.count <= mostHeaderBytes else {
      throw ABNError(
        .unsupported, "safetensors file \(quoted(path))", got: "a header of \(header.count) bytes",
        wanted: "at most \(mostHeaderBytes)", fix: "Use fewer tensors or less metadata.")
    }
    return { writer in
      var length: [UInt8] = []
      length.appendLittleEndian(UInt64(header.count))
      try writer.write(length + header)
      for (name, _) in sorted {
        try tensors.tensor(name).withUnsafeBytes { try writer.write($0) }
      }
    }
  }

  static let metadataName = "__metadata__"
  static let kind = "safetensors"

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
    _ tensors: [(key: String, value: TensorType)], _ metadata: [String: String]
  ) -> [UInt8] {
    var members: [(name: String, value: JSON)] = []
    if !metadata.isEmpty {
      let entries = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSON.string($0.value)) }
      members.append((metadataName, .object(entries)))
    }
    var offset = 0
    for (name, type) in tensors {
      let end = offset + type.bytes
      members.append(
        (
          name,
          .object([
            ("dtype", .string(Self.name(of: type.dtype))),
            ("shape", .array(type.shape.dimensions.map { .integer($0) })),
            ("data_offsets", .array([.integer(offset), .integer(end)])),
          ])
        ))
      offset = end
    }
    var bytes = Array(JSON.object(members).line.utf8)
    // The elements start at a multiple of 8 bytes.
    bytes += [UInt8](repeating: 0x20, count: (8 - bytes.count % 8) % 8)
    return bytes
  }

  static func read(
    _ source: ByteSource, only names: [String]? = nil
  ) throws -> (tensors: [String: Tensor], metadata: [String: String]) {
    let header = try SafetensorsHeader(source)
    let wanted = names.map(Set.init)
    var tensors: [String: Tensor] = [:]
    for record in header.records where wanted?.contains(record.name) ?? true {
      tensors[record.name] = try record.read(source, dataOffset: header.dataOffset)
    }
    if let names {
      if let missing = names.first(where: { tensors[$0] == nil }) {
        let known = header.records.map(\.name).sorted()
        throw ABNError(
          .name, "safetensors file \(quoted(source.path))", got: "the name \(quoted(missing))",
          wanted: "one of \(known.joined(separator: ", "))",
          fix: didYouMean(missing, in: known))
      }
    } else {
      try verifyChecksum(tensors, header.metadata, source.path)
    }
    return (tensors, header.metadata)
  }
}
