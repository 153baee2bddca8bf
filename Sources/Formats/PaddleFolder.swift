import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Folders in which each file is a variable.
enum PaddleFolder {
  /// The most parts of a name; bounds the open folders.
  static let mostDepth = 32

  /// The names of the variables, sorted; see `PaddleParameters.readDirectory` for what is left out.
  static func names(in path: String) throws -> [String] {
    var names: [String] = []
    try list(path, prefix: "", depth: 0, into: &names)
    return PaddleParameters.inOrder(names)
  }

  private static func list(
    _ path: String, prefix: String, depth: Int, into names: inout [String]
  ) throws {
    guard depth < mostDepth else {
      throw ABNError(
        .file, "folder \(quoted(path))", got: "more than \(mostDepth) folders in one another",
        wanted: "a folder of parameters")
    }
    for entry in try entries(of: path) {
      let file = "\(path)/\(entry)"
      var status = stat()
      if lstat(file, &status) != 0 { throw fileError(file, "cannot be examined") }
      switch status.st_mode & S_IFMT {
      case S_IFDIR:
        try list(file, prefix: "\(prefix)\(entry)/", depth: depth + 1, into: &names)
      case S_IFREG: names.append(prefix + entry)
      case S_IFLNK where isFile(file): names.append(prefix + entry)
      default:
        throw ABNError(
          .file, "folder \(quoted(path))",
          got: "\(quoted(entry)), a device, pipe, socket or a link to no file",
          wanted: "files and folders", fix: "Remove it, or give the names to read.")
      }
    }
  }

  private static func isFile(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  private static func entries(of path: String) throws -> [String] {
    try Folder.allEntries(of: path).compactMap { name in
      guard let name else {
        throw ABNError(
          .file, "folder \(quoted(path))", got: "a file name that is not UTF-8",
          wanted: "names of variables", fix: "Remove it, or give the names to read.")
      }
      return isLeftOut(name) ? nil : name
    }
  }

  /// Whether a file or folder of this name is no variable: `__model__`, in which the original keeps
  /// a program, and a temporary.
  static func isLeftOut(_ name: String) -> Bool {
    name == "__model__" || TemporaryFiles.isTemporary(name)
  }
}
