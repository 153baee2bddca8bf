import ABNTensors

extension Safetensors {
  /// The key in the metadata under which a file bears the checksum of its contents.
  ///
  /// Where the metadata to be written have this key, its value is set to `checksum(of:metadata:)`;
  /// where those of a file have it, `read` verifies it.
  package static let checksumKey = "abn.checksum"

  /// The checksum of tensors and metadata: `crc32:` and eight hexadecimal digits.
  ///
  /// It is a CRC-32 (IEEE 802.3) of the contents and not of the file's bytes, so that it holds for
  /// a copy that another program has written in another order: for each entry of the metadata but
  /// its own, and then for each tensor, by name, a letter `m` or `t`, the name, and the value or
  /// element type, rank, dimensions and elements; texts are UTF-8 with their length before them,
  /// numbers 64 bits, all little endian.
  package static func checksum(
    of tensors: [String: Tensor], metadata: [String: String] = [:]
  ) -> String {
    // A tensor of a dictionary is always there.
    (try? checksum(of: TensorStream(tensors), metadata: metadata)) ?? ""
  }

  /// The same of tensors that are read one after the other.
  ///
  /// - Throws: what the stream throws.
  package static func checksum(
    of tensors: TensorStream, metadata: [String: String] = [:]
  ) throws -> String {
    var sum: UInt32 = 0
    var bytes: [UInt8] = []
    func append(_ text: String) {
      bytes.appendLittleEndian(UInt64(text.utf8.count))
      bytes += text.utf8
    }
    func take() {
      sum = bytes.withUnsafeBytes { cyclicChecksum($0, after: sum) }
      bytes.removeAll(keepingCapacity: true)
    }
    for name in inOrder(metadata.keys) where name != checksumKey {
      bytes.append(UInt8(ascii: "m"))
      append(name)
      append(metadata[name]!)
      take()
    }
    for name in inOrder(tensors.types.keys) {
      let tensor = try tensors.tensor(name)
      bytes.append(UInt8(ascii: "t"))
      append(name)
      append(Self.name(of: tensor.dtype))
      bytes.appendLittleEndian(UInt64(tensor.shape.rank))
      for dimension in tensor.shape.dimensions { bytes.appendLittleEndian(UInt64(dimension)) }
      take()
      sum = tensor.withUnsafeBytes { cyclicChecksum($0, after: sum) }
    }
    let digits = String(sum, radix: 16)
    return "crc32:" + String(repeating: "0", count: 8 - digits.count) + digits
  }

  /// By bytes: the same in every program.
  private static func inOrder(_ names: some Sequence<String>) -> [String] {
    names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// The metadata with the checksum, where they have a place for it.
  static func withChecksum(
    _ metadata: [String: String], _ tensors: TensorStream
  ) throws -> [String: String] {
    guard metadata[checksumKey] != nil else { return metadata }
    var metadata = metadata
    metadata[checksumKey] = try checksum(of: tensors, metadata: metadata)
    return metadata
  }

  /// - Throws: `ABNError(.file)` where a file's metadata bear another checksum than its contents
  ///   have.
  static func verifyChecksum(
    _ tensors: [String: Tensor], _ metadata: [String: String], _ path: String
  ) throws {
    guard let stated = metadata[checksumKey] else { return }
    let found = checksum(of: tensors, metadata: metadata)
    guard stated == found else {
      throw ABNError(
        .file, "safetensors file \(quoted(path))", got: "contents with checksum \(found)",
        wanted: "\(stated), which its metadata state",
        fix: "The file is damaged, or a program that does not know \(checksumKey) has changed it.")
    }
  }
}

/// Tensors by name that are read one after the other, when a file is written.
package struct TensorStream {
  /// What there is.
  package let types: [String: TensorType]
  private let read: (String) throws -> Tensor

  /// Tensors that `read` gives by name, each of the type that is stated for it.
  package init(_ types: [String: TensorType], read: @escaping (String) throws -> Tensor) {
    self.types = types
    self.read = read
  }

  /// Tensors that are in memory.
  package init(_ tensors: [String: Tensor]) {
    self.init(tensors.mapValues { TensorType($0.shape, $0.dtype) }) { tensors[$0]! }
  }

  /// - Throws: `ABNError(.data)` for one that is not of the stated type, and what `read` throws.
  func tensor(_ name: String) throws -> Tensor {
    let tensor = try read(name).checked()
    guard let type = types[name], TensorType(tensor.shape, tensor.dtype) == type else {
      throw ABNError(
        .data, "tensor \(quoted(name))", got: "\(tensor.dtype)\(tensor.shape)",
        wanted: types[name].map { "\($0)" } ?? "one of the names that are written")
    }
    return tensor
  }
}
