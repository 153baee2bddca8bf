import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Folders: made so that they last, listed, flushed.
package enum Folder {
  private static let slash = UInt8(ascii: "/")

  /// The parts of a path between its slashes, as the system sees them: to Swift a slash with an
  /// accent is another character.
  static func parts(of path: String) -> [String] {
    path.utf8.split(separator: slash, omittingEmptySubsequences: false).map {
      String(Substring($0))
    }
  }

  /// The folder of a file: `.` where its path names none.
  package static func parent(of path: String) -> String {
    guard let last = path.utf8.lastIndex(of: slash) else { return "." }
    return last == path.startIndex ? "/" : String(path[..<last])
  }

  /// Makes a folder and those above it that do not exist; each new one is flushed to the disk in
  /// the folder that it stands in.
  ///
  /// - Throws: `ABNError(.file)` with the first folder that cannot be made and the system's reason.
  package static func make(_ path: String) throws { try make(path, calls: .system) }

  static func make(_ path: String, calls: FileCalls) throws {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw ABNError(
        .file, "folder \(quoted(path))", got: "no path", wanted: "the path of a folder")
    }
    var part = path.utf8.first == slash ? "/" : ""
    for name in parts(of: path) where !name.isEmpty {
      let parent = part.isEmpty ? "." : part
      part += name
      if mkdir(part, 0o777) == 0 {
        try flush(parent, for: part, calls: calls)
      } else {
        // Some systems say "read-only" or "not permitted" of a folder that exists.
        let code = errno
        var status = stat()
        guard stat(part, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
          errno = code == EEXIST ? ENOTDIR : code
          throw fileError(part, "cannot be made as a folder")
        }
      }
      part += "/"
    }
  }

  /// Makes the folder of a file, where its path names one.
  static func makeParent(of path: String) throws {
    let folder = parent(of: path)
    if folder != ".", folder != "/" { try make(folder) }
  }

  /// The names of what lies in a folder, hidden ones too, in no order; nil for a name that is not
  /// UTF-8.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason.
  static func allEntries(of path: String) throws -> [String?] {
    guard !path.utf8.contains(0), let folder = opendir(path) else {
      throw fileError(path, "cannot be read as a folder")
    }
    defer { closedir(folder) }
    var names: [String?] = []
    while true {
      errno = 0
      guard let entry = readdir(folder) else {
        if errno != 0 { throw fileError(path, "cannot be read as a folder") }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
        field.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
  }

  /// Flushes a folder's table of names to the disk.
  ///
  /// - Throws: `ABNError(.file)` in the name of `path`.
  static func flush(_ folder: String, for path: String, calls: FileCalls = .system) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    // A folder that may be written but not read cannot be flushed; the file itself is complete.
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    while calls.sync(descriptor) != 0 {
      // Some network file systems do not flush folders.
      if errno == EINVAL || errno == ENOTSUP { return }
      if errno != EINTR {
        throw fileError(path, "is complete, but its folder cannot be flushed to the disk")
      }
    }
  }
}
