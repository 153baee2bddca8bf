import ABNTensors

/// The file format of several named numpy arrays (`.npz`): a zip file with one `.npy` per array.
///
/// Read: stored and deflated entries (`numpy.savez`, `numpy.savez_compressed`), zip64 included; the
/// checksum of every entry is verified. Written: stored entries in the order of their names, so
/// that equal arrays give equal files.
///
/// Source: numpy, `numpy.savez`.
public enum NPZ {
  /// Reads the arrays of a file under their names without `.npy`.
  ///
  /// - Parameters:
  ///   - names: the arrays to read; nil for all. Others are not looked at, so that a file that also
  ///     holds arrays of text can still be used.
  ///   - limits: what may be taken from the file.
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged or asks for more than
  ///   `limits` allow, `ABNError(.name)` for
  ///   a name that the file does not have, `ABNError(.unsupported)` for an entry that is no array
  ///   or has an element type that `DType` does not have.
  public static func read(
    _ path: String, only names: [String]? = nil, limits: ReadLimits = ReadLimits()
  ) throws -> [String: Tensor] {
    try read(ByteSource(path: path, kind: "npz", limits: limits), only: names)
  }

  /// The names of the arrays in a file, sorted.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged.
  public static func names(_ path: String) throws -> [String] {
    try ZipReader(ByteSource(path: path, kind: "npz")).entries.map { arrayName($0.name) }.sorted()
  }

  /// Writes arrays; the file appears whole or not at all (see `AtomicFile`).
  ///
  /// - Throws: `ABNError(.unsupported)` for bfloat16, `ABNError(.name)` for a name that is empty,
  ///   longer than 65531 bytes or holds a NUL, `ABNError(.file)` where the file cannot be written.
  public static func write(_ tensors: [String: Tensor], to path: String) throws {
    try AtomicFile.write(to: path) { try write(tensors, path: path, ZipWriter($0)) }
  }

  static func write(_ tensors: [String: Tensor], path: String, _ zip: ZipWriter) throws {
    var zip = zip
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      guard !name.isEmpty, name.utf8.count <= 65531, !name.utf8.contains(0) else {
        throw ABNError(
          .name, "npz file \(quoted(path))", got: "the name \(quoted(name.prefix(80)))",
          wanted: "1 to 65531 bytes without NUL")
      }
      let header = try NPY.header(for: tensor, in: "npz file \(quoted(path)): \(quoted(name))")
      try header.withUnsafeBytes { header in
        try tensor.withUnsafeBytes { elements in
          try zip.append(name: name + ".npy", parts: [header, elements])
        }
      }
    }
    try zip.finish()
  }

  static func read(_ source: ByteSource, only names: [String]? = nil) throws -> [String: Tensor] {
    let zip = try ZipReader(source)
    let wanted = names.map(Set.init)
    var tensors: [String: Tensor] = [:]
    for entry in zip.entries {
      let name = arrayName(entry.name)
      if let wanted, !wanted.contains(name) { continue }
      guard entry.name.hasSuffix(".npy") else {
        throw source.fault(
          .unsupported, at: entry.tableOffset, got: "the entry \(quoted(entry.name))",
          wanted: "entries that end in .npy", fix: "Name the arrays to be read.")
      }
      let stream = try zip.stream(entry)
      tensors[name] = try NPY.read(stream)
      try zip.check(entry, stream)
    }
    for name in names ?? [] where tensors[name] == nil {
      let known = zip.entries.map { arrayName($0.name) }.sorted()
      let near = didYouMean(name, in: known)
      throw ABNError(
        .name, "npz file \(quoted(source.path))", got: "the name \(quoted(name))",
        wanted: "one of \(known.joined(separator: ", "))", fix: near)
    }
    return tensors
  }

  private static func arrayName(_ entry: String) -> String {
    entry.hasSuffix(".npy") ? String(entry.dropLast(4)) : entry
  }
}
