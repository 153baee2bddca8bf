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
    for name in inOrder(tensors.keys) {
      let tensor = tensors[name]!
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
    _ metadata: [String: String], _ tensors: [String: Tensor]
  ) -> [String: String] {
    guard metadata[checksumKey] != nil else { return metadata }
    var metadata = metadata
    metadata[checksumKey] = checksum(of: tensors, metadata: metadata)
    return metadata
  }

  /// - Throws: `ABNError(.file)` where a file's metadata bear another checksum than its contents have.
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
