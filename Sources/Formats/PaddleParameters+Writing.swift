import ABNTensors

extension PaddleParameters {
  /// Writes one variable to a file, byte for byte as the original; missing folders are made.
  ///
  /// - Parameter levelsOfDetail: offsets of rows, coarsest level first; empty as a rule.
  /// - Throws: `ABNError(.unsupported)` for bfloat16, which version 1.8 does not have, and for more
  ///   dimensions than a description holds; `ABNError(.attribute)` for levels that do not fit the
  ///   tensor; `ABNError(.file)` where the file cannot be written.
  public static func writeVariable(
    _ tensor: Tensor, levelsOfDetail: [[Int]] = [], to path: String
  ) throws {
    let header = try header(tensor, levelsOfDetail, "\(kind) file \(quoted(path))")
    try Folder.makeParent(of: path)
    try AtomicFile.write(to: path) { writer in
      try writer.write(header)
      try tensor.withUnsafeBytes { try writer.write($0) }
    }
  }

  /// Writes each variable to a file of its name in a folder; missing folders are made, files of
  /// other names stay. Each file appears whole or not at all; the folder as a whole does not.
  ///
  /// - Throws: as `writeVariable`; `ABNError(.name)` for a name that leads out of the folder, is a
  ///   folder of another name, or could not be read back (see `readDirectory`; parts of more than
  ///   255 bytes, more than 32 parts). Names and types are checked before anything is written.
  public static func writeDirectory(_ tensors: [String: Tensor], to path: String) throws {
    let what = "folder \(quoted(path))"
    let names = try checkedNames(inOrder(tensors.keys), what, isWriting: true)
    for name in names { _ = try header(tensors[name]!, [], "\(what): \(quoted(name))") }
    try Folder.make(path)
    for folder in Set(names.map { Folder.parent(of: "\(path)/\($0)") }) {
      TemporaryFiles.removeAbandoned(in: folder)
    }
    for name in names { try writeVariable(tensors[name]!, to: "\(path)/\(name)") }
  }

  /// Writes all variables to one file, in the order of their names, without the names; missing
  /// folders are made.
  ///
  /// - Throws: as `writeVariable`.
  public static func writeCombined(_ tensors: [String: Tensor], to path: String) throws {
    let records = try inOrder(tensors.keys).map { name in
      let tensor = tensors[name]!
      return (try header(tensor, [], "\(kind) file \(quoted(path)): \(quoted(name))"), tensor)
    }
    try Folder.makeParent(of: path)
    TemporaryFiles.removeAbandoned(in: Folder.parent(of: path))
    try AtomicFile.write(to: path) { writer in
      for (header, tensor) in records {
        try writer.write(header)
        try tensor.withUnsafeBytes { try writer.write($0) }
      }
    }
  }

  private static func header(
    _ tensor: Tensor, _ levels: [[Int]], _ what: String
  ) throws -> [UInt8] {
    _ = try tensor.checked()
    if let mistake = PaddleRecord.mistake(in: levels, rows: tensor.shape.dimensions.first) {
      throw ABNError(.attribute, what, got: mistake.got, wanted: mistake.wanted)
    }
    guard let header = PaddleRecord.header(tensor, levels: levels) else {
      let isType = PaddleDescription.code(of: tensor.dtype) == nil
      throw ABNError(
        .unsupported, what,
        got: isType ? "a tensor of \(tensor.dtype)" : "\(tensor.shape.rank) dimensions",
        wanted: isType
          ? "an element type of Paddle 1.8"
          : "a description of at most \(PaddleRecord.mostDescriptionBytes) bytes",
        fix: isType ? "Cast to float32 first, or write safetensors." : "")
    }
    return header
  }
}
