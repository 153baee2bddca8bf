import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A file that is being written and has not taken its place yet. Where it never does, it is removed
/// with the value, or by the system with the process.
///
/// It is locked (`flock`) for as long as this process lives, so that others can tell it from one
/// that a killed process left behind.
final class PendingFile {
  /// What the caller calls the file.
  let path: String
  /// The file that is replaced: `path`, or what the link there names.
  let target: String
  private let calls: FileCalls
  private let descriptor: Int32
  /// The name until it has its own; nil: none at all.
  private var temporary: String?

  /// The folder that the file comes to lie in.
  var folder: String { Folder.parent(of: target) }

  /// Whether there is a file in its place now, which would be replaced.
  var replaces: Bool {
    var status = stat()
    return lstat(target, &status) == 0
  }

  /// Opens a file in the folder of `path`; one that stands there lends it its permissions.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason.
  init(_ path: String, calls: FileCalls) throws {
    let (target, permissions) = try Self.resolve(path)
    let folder = Folder.parent(of: target)
    if calls.makesUnnamedFiles, let unnamed = Self.openUnnamed(in: folder) {
      (descriptor, temporary) = (unnamed, nil)
    } else {
      (descriptor, temporary) = try Self.openNamed(in: folder, for: path)
    }
    self.path = path
    self.target = target
    self.calls = calls
    if let permissions, fchmod(descriptor, permissions) != 0 {
      throw fileError(path, "cannot be given the permissions of the old file")
    }
  }

  deinit {
    if let temporary { unlink(temporary) }
    close(descriptor)
  }

  /// Writes the bytes and flushes them to the disk.
  func write(_ body: (FileWriter) throws -> Void) throws {
    let writer = FileWriter(descriptor: descriptor, path: path, calls: calls)
    defer { writer.retire() }
    try body(writer)
    try writer.flush()
    while calls.sync(descriptor) != 0 {
      if errno != EINTR { throw fileError(path, "cannot be flushed to the disk") }
    }
  }

  /// Takes the place of the target.
  func publish() throws {
    if temporary == nil {
      let name = TemporaryFiles.newPath(in: folder)
      try move(to: name)
    }
    try move(to: target)
    temporary = nil
  }

  /// Takes a name: for a file that has none as yet, one that nobody has.
  func move(to name: String) throws {
    if let temporary {
      if calls.rename(temporary, name) != 0 {
        throw fileError(path, "cannot give the new file its name")
      }
    } else if linkat(
      AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) != 0
    {
      throw fileError(path, "cannot give the new file its name")
    }
    temporary = name
  }

  /// Is no longer removed with this value: it has its place.
  func settle() { temporary = nil }

  /// The file that is really replaced and its permission bits; nil bits where there is none yet.
  ///
  /// - Throws: `ABNError(.file)` for what is no regular file.
  static func resolve(_ path: String) throws -> (String, mode_t?) {
    if path.isEmpty || path.utf8.contains(0) {
      throw ABNError(
        .file, "file \(quoted(path))",
        got: path.isEmpty ? "an empty name" : "a NUL byte in the name",
        wanted: "a path")
    }
    var status = stat()
    if stat(path, &status) != 0 {
      // A dangling link, or nothing there: the name itself is created.
      guard errno == ENOENT else { throw fileError(path, "cannot be examined") }
      return (path, nil)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let isFolder = status.st_mode & S_IFMT == S_IFDIR
      throw ABNError(
        .file, "file \(quoted(path))", got: isFolder ? "a folder" : "a device, pipe or socket",
        wanted: "the path of a regular file, new or to be replaced")
    }
    let permissions = status.st_mode & 0o7777
    // The path itself where it is no link: that of the current folder may be no text.
    var own = stat()
    if lstat(path, &own) == 0, own.st_mode & S_IFMT != S_IFLNK { return (path, permissions) }
    guard let real = realpath(path, nil) else { throw fileError(path, "cannot be resolved") }
    defer { free(real) }
    guard let target = String(validatingCString: real) else {
      throw ABNError(
        .file, "file \(quoted(path))", got: "a link into a folder whose name is not UTF-8",
        wanted: "a file that can be named", fix: "Write to another place.")
    }
    return (target, permissions)
  }

  /// A file without a name (`O_TMPFILE`), which ends with the process; nil where the file system
  /// has none, or where it could not be given a name later.
  private static func openUnnamed(in folder: String) -> Int32? {
    // The C header writes the flag so that Swift does not import it.
    let unnamed = 0o20_000_000 | O_DIRECTORY
    let descriptor = open(folder, unnamed | O_RDWR | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { return nil }
    guard access("/proc/self/fd/\(descriptor)", F_OK) == 0 else {
      close(descriptor)
      return nil
    }
    _ = flock(descriptor, LOCK_EX | LOCK_NB)
    return descriptor
  }

  private static func openNamed(in folder: String, for path: String) throws -> (Int32, String) {
    for _ in 0..<100 {
      let name = TemporaryFiles.newPath(in: folder)
      let descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
      if descriptor >= 0 {
        // Somebody who removes abandoned ones may have seen it before it was locked.
        if TemporaryFiles.lock(descriptor, at: name) != .lost { return (descriptor, name) }
        close(descriptor)
      } else if errno != EEXIST && errno != EINTR {
        break
      }
    }
    throw fileError(path, "cannot create a file in the folder \(quoted(folder))")
  }
}
