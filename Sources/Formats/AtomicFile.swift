import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Writes a file whole or not at all.
///
/// The bytes go to a temporary file in the same folder (`.abn-<random>.tmp`), are flushed to the
/// disk, and only then take the final name by `rename`, which POSIX makes atomic; the folder is
/// flushed last. Whoever opens the final name sees the old file or the complete new one.
/// On any failure the temporary is removed and the old file stays as it was; only a process that is
/// killed in between leaves a temporary behind.
public enum AtomicFile {
  /// Writes `contents` to `path`; a file of that name is replaced, its permissions are kept.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason: the folder does not
  ///   exist or may not be written, the disk is full, `path` is a folder or a device.
  public static func write(_ contents: [UInt8], to path: String) throws {
    try write(to: path) { try $0.write(contents) }
  }

  /// Writes `text` as UTF-8 to `path`, in the same way.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason.
  public static func write(_ text: String, to path: String) throws {
    try write(Array(text.utf8), to: path)
  }

  /// Writes what `body` gives to its writer to `path`, in the same way.
  ///
  /// A symbolic link at `path` is followed: the file that it names is replaced, the link stays; one that
  /// names no file is replaced itself.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason, or what `body`
  ///   throws; in both cases `path` is as it was before.
  public static func write(to path: String, _ body: (FileWriter) throws -> Void) throws {
    try write(to: path, calls: .system, body)
  }

  static func write(
    to path: String, calls: FileCalls, _ body: (FileWriter) throws -> Void
  ) throws {
    let (target, permissions) = try resolve(path)
    let folder = parentFolder(of: target)
    let (temporary, descriptor) = try openTemporary(in: folder, for: path)
    var isOpen = true
    do {
      if let permissions, fchmod(descriptor, permissions) != 0 {
        throw fileError(path, "cannot set the permissions of the new file")
      }
      let writer = FileWriter(descriptor: descriptor, path: path, calls: calls)
      defer { writer.retire() }
      try body(writer)
      try writer.flush()
      while calls.sync(descriptor) != 0 {
        if errno != EINTR { throw fileError(path, "cannot be flushed to the disk") }
      }
      isOpen = false
      if close(descriptor) != 0 { throw fileError(path, "cannot close the new file") }
      if calls.rename(temporary, target) != 0 {
        throw fileError(path, "cannot give the new file its name")
      }
    } catch {
      if isOpen { close(descriptor) }
      unlink(temporary)
      throw error
    }
    try flushFolder(folder, for: path, calls: calls)
  }

  /// The file that is really replaced and its permission bits; nil bits where there is none yet.
  private static func resolve(_ path: String) throws -> (String, mode_t?) {
    if path.isEmpty || path.utf8.contains(0) {
      throw ABNError(
        .file, "file \"\(path)\"", got: path.isEmpty ? "an empty name" : "a NUL byte in the name",
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
        .file, "file \"\(path)\"", got: isFolder ? "a folder" : "a device, pipe or socket",
        wanted: "the path of a regular file, new or to be replaced")
    }
    guard let real = realpath(path, nil) else { throw fileError(path, "cannot be resolved") }
    defer { free(real) }
    return (String(cString: real), status.st_mode & 0o7777)
  }

  private static func parentFolder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func openTemporary(
    in folder: String, for path: String
  ) throws -> (name: String, descriptor: Int32) {
    var tries = 0
    while true {
      let random = String(UInt64.random(in: .min ... .max), radix: 16)
      let name = "\(folder)/.abn-\(random).tmp"
      let descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if descriptor >= 0 { return (name, descriptor) }
      tries += 1
      if (errno != EEXIST && errno != EINTR) || tries == 100 {
        throw fileError(path, "cannot create a file in the folder \"\(folder)\"")
      }
    }
  }

  private static func flushFolder(
    _ folder: String, for path: String, calls: FileCalls
  ) throws {
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

/// The system calls that a test replaces to act out a full or broken disk.
struct FileCalls {
  var write: (Int32, UnsafeRawPointer, Int) -> Int
  var sync: (Int32) -> Int32
  var rename: (String, String) -> Int32

  static var system: FileCalls {
    FileCalls(
      write: { systemWrite($0, $1, $2) }, sync: { fsync($0) },
      rename: { systemRename($0, $1) })
  }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

private func systemRename(_ from: String, _ to: String) -> Int32 { rename(from, to) }

/// Takes the bytes of a file that `AtomicFile` writes, through a buffer of 1 MiB.
///
/// It is of use only inside the closure that it was given to.
public final class FileWriter {
  /// The number of bytes written so far.
  public private(set) var position = 0

  private let descriptor: Int32
  private let path: String
  private let calls: FileCalls
  private var buffer: [UInt8] = []
  private var isRetired = false
  private static let bufferBytes = 1 << 20

  init(descriptor: Int32, path: String, calls: FileCalls) {
    self.descriptor = descriptor
    self.path = path
    self.calls = calls
  }

  /// Appends bytes.
  ///
  /// - Throws: `ABNError(.file)` with the path and the system's reason, a full disk for one.
  public func write(_ bytes: UnsafeRawBufferPointer) throws {
    precondition(!isRetired, "a FileWriter is used outside of its closure")
    if buffer.count + bytes.count > Self.bufferBytes { try flush() }
    if bytes.count >= Self.bufferBytes {
      try drain(bytes)
    } else {
      buffer.append(contentsOf: bytes)
    }
    position += bytes.count
  }

  /// Appends bytes.
  ///
  /// - Throws: `ABNError(.file)` with the path and the system's reason.
  public func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try write($0) }
  }

  /// Appends text as UTF-8.
  ///
  /// - Throws: `ABNError(.file)` with the path and the system's reason.
  public func write(_ text: String) throws { try write(Array(text.utf8)) }

  func flush() throws {
    try buffer.withUnsafeBytes { try drain($0) }
    buffer.removeAll(keepingCapacity: true)
  }

  func retire() { isRetired = true }

  private func drain(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while let base = rest.baseAddress, !rest.isEmpty {
      let written = calls.write(descriptor, base, min(rest.count, 1 << 30))
      if written < 0 {
        if errno == EINTR { continue }
        throw fileError(path, "cannot be written")
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
  }
}

/// The error for a system call that has just failed on `path`; reads `errno`.
func fileError(_ path: String, _ what: String) -> ABNError {
  let code = errno
  let fix: String
  switch code {
  case ENOSPC, EDQUOT: fix = "Free some space or write to another disk."
  case ENOENT: fix = "Create the folder first or check the spelling."
  case EACCES, EPERM, EROFS: fix = "Choose a place that you may access."
  default: fix = ""
  }
  return ABNError(
    .file, "file \"\(path)\" \(what)", got: String(cString: strerror(code)),
    wanted: "success of the system call", fix: fix)
}
