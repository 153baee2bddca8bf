import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Folders in which each file is a variable.
enum PaddleFolder {
  /// No name has as many parts; bounds the open folders.
  private static let mostDepth = 32

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
        .file, "folder \"\(path)\"", got: "more than \(mostDepth) folders in one another",
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
          .file, "folder \"\(path)\"",
          got: "\(entry.debugDescription), a device, pipe, socket or a link to no file",
          wanted: "files and folders", fix: "Remove it, or give the names to read.")
      }
    }
  }

  private static func isFile(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  private static func entries(of path: String) throws -> [String] {
    guard !path.utf8.contains(0), let folder = opendir(path) else {
      throw fileError(path, "cannot be read as a folder")
    }
    defer { closedir(folder) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(folder) else {
        if errno != 0 { throw fileError(path, "cannot be read as a folder") }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
        field.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      guard let name else {
        throw ABNError(
          .file, "folder \"\(path)\"", got: "a file name that is not UTF-8",
          wanted: "names of variables", fix: "Remove it, or give the names to read.")
      }
      let isTemporary = name.hasPrefix(".abn-") && name.hasSuffix(".tmp")
      if ![".", "..", "__model__"].contains(name) && !isTemporary { names.append(name) }
    }
  }

  /// Makes a folder and those above it that do not exist.
  static func make(_ path: String) throws {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw ABNError(
        .file, "folder \(path.debugDescription)", got: "no path", wanted: "the path of a folder")
    }
    var part = path.hasPrefix("/") ? "/" : ""
    for name in path.split(separator: "/") {
      part += name
      if mkdir(part, 0o777) != 0 {
        // Some systems say "read-only" or "not permitted" of a folder that exists.
        let code = errno
        var status = stat()
        guard stat(part, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
          errno = code
          throw fileError(part, "cannot be made as a folder")
        }
      }
      part += "/"
    }
  }

  /// Makes the folder of a file, where its path names one.
  static func makeParent(of path: String) throws {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
    try make(String(path[..<slash]))
  }
}
