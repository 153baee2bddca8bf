import ABNTensors

/// Parameter files of Paddle 1.8: one variable a file, all in one file, and the pickled dictionary.
///
/// A variable is, little endian: u32 0 (version) | u64 number of levels of detail | for each level
/// u64 size in bytes and u64 offsets | u32 0 (version) | i32 n | n bytes of protobuf
/// `TensorDesc` (08 type, then 10 dimension each) | row-major elements. One file a variable: the
/// file's name is the variable's, a `/` in it makes a folder. All in one file: the same records in
/// the order of their names (by code points), without the names.
///
/// Element types: bool, uint8, int8, int32, int64, float16, float32, float64.
///
/// Source: PaddlePaddle 1.8, `framework/framework.proto`, `framework/lod_tensor.cc`
/// (SerializeToStream), `framework/tensor_util.cc` (TensorToStream), `fluid/io.py`.
public enum PaddleParameters {
  /// A variable with its level of detail: offsets of rows, coarsest level first; empty as a rule.
  public struct Variable: Sendable {
    /// The elements.
    public let tensor: Tensor
    /// For each level the offsets of its parts, from 0 to the number of parts below, or of rows.
    public let levelsOfDetail: [[Int]]

    /// A variable with these levels; they are checked when it is written.
    public init(_ tensor: Tensor, levelsOfDetail: [[Int]] = []) {
      self.tensor = tensor
      self.levelsOfDetail = levelsOfDetail
    }
  }

  static let kind = "Paddle parameter"

  /// Reads a file that holds one variable; a level of detail is checked and left out.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged, also where bytes
  ///   follow the variable; `ABNError(.unsupported)` for an element type that `DType` does not
  ///   have; `ABNError(.data)` for a boolean that is neither 0 nor 1.
  public static func readVariable(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws -> Tensor {
    try readVariable(ByteSource(path: path, kind: kind, limits: limits)).tensor
  }

  /// Reads a file that holds one variable, with its level of detail.
  ///
  /// - Throws: as `readVariable`.
  public static func readVariableWithLevels(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws -> Variable {
    try readVariable(ByteSource(path: path, kind: kind, limits: limits))
  }

  static func readVariable(_ source: ByteSource) throws -> Variable {
    let record = try PaddleRecord(source, at: 0)
    guard record.end == source.byteCount else {
      throw source.fault(
        at: record.end, got: "\(source.byteCount - record.end) bytes after the variable",
        wanted: "the end of the file",
        fix: "Several variables in one file are read with their names, by readCombined.")
    }
    return Variable(record.tensor, levelsOfDetail: record.levels)
  }

  /// Reads a folder of files, one variable each, by name.
  ///
  /// A file in a subfolder gives a name with `/`. Left out: `__model__`, in which the original
  /// keeps a program, and temporaries of a killed process (`TemporaryFiles`). `writeDirectory`
  /// takes no variable of such a name: what it has written is read, whole.
  ///
  /// - Parameters:
  ///   - names: the variables to read; nil: every file in the folder.
  ///   - limits: what may be taken from all files together.
  /// - Throws: as `readVariable`; `ABNError(.file)` for a folder that cannot be read, a name that
  ///   is not UTF-8 and a link to a folder; `ABNError(.name)` for a name that leads out of the
  ///   folder or stands twice in `names`.
  public static func readDirectory(
    _ path: String, names: [String]? = nil, limits: ReadLimits = ReadLimits()
  ) throws -> [String: Tensor] {
    let wanted = try names.map { try checkedNames($0, "folder \(quoted(path))") }
    var tensors: [String: Tensor] = [:]
    // Those for the folder as a whole.
    var left = limits
    let all = try wanted ?? PaddleFolder.names(in: path)
    guard all.count <= limits.mostEntries else {
      throw ABNError(
        .file, "folder \(quoted(path))", got: "\(all.count) variables",
        wanted: "at most \(limits.mostEntries) (ReadLimits.mostEntries)", fix: ByteSource.limitFix)
    }
    for name in all {
      // Two spellings of one text in Unicode are one String.
      guard tensors[name] == nil else {
        throw ABNError(
          .file, "folder \(quoted(path))", got: "the variable \(quoted(name)) twice",
          wanted: "each name once")
      }
      let tensor = try readVariable("\(path)/\(name)", limits: left)
      left.mostBytes -= tensor.bytes
      tensors[name] = tensor
    }
    return tensors
  }

  /// Reads a file that holds the variables of these names, in the order of the names; the order in
  /// which `names` gives them does not matter. Levels of detail are checked and left out.
  ///
  /// - Throws: as `readVariable`; `ABNError(.file)` where the file holds another number of
  ///   variables than there are names; `ABNError(.name)` for a name that stands twice in `names`.
  public static func readCombined(
    _ path: String, names: [String], limits: ReadLimits = ReadLimits()
  ) throws -> [String: Tensor] {
    try readCombined(ByteSource(path: path, kind: kind, limits: limits), names: names)
  }

  static func readCombined(_ source: ByteSource, names: [String]) throws -> [String: Tensor] {
    let what = "\(kind) file \(quoted(source.path))"
    let sorted = inOrder(try withoutDuplicates(names, what))
    let fix = "The file has no names: give those of exactly the variables that were saved."
    var tensors: [String: Tensor] = [:]
    var offset = 0
    for name in sorted {
      guard offset < source.byteCount else {
        throw source.fault(
          at: offset, got: "\(tensors.count) variables",
          wanted: "\(sorted.count), the next of them \(quoted(name))", fix: fix)
      }
      let record = try PaddleRecord(source, at: offset)
      tensors[name] = record.tensor
      offset = record.end
    }
    guard offset == source.byteCount else {
      throw source.fault(
        at: offset,
        got: "\(source.byteCount - offset) more bytes after \(sorted.count) variables",
        wanted: "the end of the file", fix: fix)
    }
    return tensors
  }

  /// The order of a combined file: by code points, as Python sorts; Swift's own order of strings is
  /// another one.
  static func inOrder(_ names: some Sequence<String>) -> [String] {
    names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  static func withoutDuplicates(_ names: [String], _ what: String) throws -> [String] {
    var seen: Set<String> = []
    for name in names where !seen.insert(name).inserted {
      throw ABNError(
        .name, what, got: "the name \(quoted(name)) twice", wanted: "each name once")
    }
    return names
  }

  /// The names, if each is a path inside of a folder and none is a folder of another.
  ///
  /// - Parameter isWriting: whether they are to be written: then none may be one that a folder's
  ///   reader leaves out or the file system cannot have.
  static func checkedNames(
    _ names: [String], _ what: String, isWriting: Bool = false
  ) throws -> [String] {
    let all = Set(try withoutDuplicates(names, what))
    for name in names {
      let parts = Folder.parts(of: name)
      func check(_ holds: Bool, _ wanted: String) throws {
        if holds { return }
        throw ABNError(
          .name, what, got: "the variable \(quoted(name))", wanted: wanted,
          fix: "Rename the variable, or use one file for all.")
      }
      try check(
        parts.allSatisfy { !["", ".", ".."].contains($0) } && !name.utf8.contains(0),
        "a name that is a path inside of the folder")
      try check(
        parts.count <= PaddleFolder.mostDepth, "at most \(PaddleFolder.mostDepth) parts in a path")
      if isWriting {
        try check(
          !parts.contains(where: PaddleFolder.isLeftOut),
          "no part called __model__ or .abn-*.tmp: a folder's reader leaves these out")
        // NAME_MAX of Linux.
        try check(parts.allSatisfy { $0.utf8.count <= 255 }, "parts of at most 255 bytes")
      }
      for count in 1..<max(parts.count, 1) {
        let folder = parts.prefix(count).joined(separator: "/")
        guard !all.contains(folder) else {
          throw ABNError(
            .name, what,
            got: "the variables \(quoted(folder)) and \(quoted(name))",
            wanted: "no name that is a folder of another",
            fix: "Rename one of them, or use one file for all.")
        }
      }
    }
    return names
  }
}
