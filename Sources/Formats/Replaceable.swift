import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension AtomicFile {
  /// Checks that `write(to: path)` can make the file or replace it, as far as that can be known
  /// without doing it: before hours of work are spent on its contents. Nothing is changed.
  ///
  /// Found: a folder, device, pipe or socket of that name; a folder that does not exist or may not
  /// be written; a file system that is read-only; a file that the system protects (another user's
  /// in a folder like `/tmp`, an immutable one) or on which another file system is mounted. Not
  /// found: a disk without space.
  ///
  /// - Throws: `ABNError(.file)` that names the path and the system's reason.
  package static func check(_ path: String) throws {
    try Uninterrupted.run { try examine(path) }
  }

  private static func examine(_ path: String) throws {
    let (target, permissions) = try PendingFile.resolve(path)
    let folder = Folder.parent(of: target)
    if access(folder, W_OK | X_OK) != 0 {
      throw fileError(path, "cannot be written in the folder \(quoted(folder))")
    }
    let (name, descriptor) = try TemporaryFiles.makeFolder(in: folder, for: path)
    defer { close(descriptor) }
    let probe = "\(folder)/\(name)"
    if permissions != nil {
      do {
        try checkSticky(path, target, folder)
        try checkReplacing(path, target, with: probe)
      } catch {
        rmdir(probe)
        throw error
      }
    }
    // A folder may let things be made and not be taken away.
    if rmdir(probe) != 0, errno != ENOENT { throw fileError(path, "cannot be replaced") }
  }

  /// Asks the system: a folder cannot take the place of a file, and it says so (ENOTDIR) only after
  /// it has checked that the file may be taken away.
  private static func checkReplacing(
    _ path: String, _ target: String, with probe: String
  ) throws {
    if rename(probe, target) == 0 {
      // The file went away meanwhile.
      rmdir(target)
    } else if [EPERM, EACCES, EROFS, EBUSY].contains(errno) {
      throw fileError(path, "cannot be replaced")
    }
    guard !isMountPoint(target) else {
      throw ABNError(
        .file, "file \(quoted(path)) cannot be replaced", got: "another file mounted there",
        wanted: "a file that can be renamed over",
        fix: "Mount its folder instead of the file, or choose another place.")
    }
  }

  /// In a folder like `/tmp` a file is replaced by its owner only, or by the folder's.
  private static func checkSticky(_ path: String, _ target: String, _ folder: String) throws {
    var (file, parent) = (stat(), stat())
    guard stat(target, &file) == 0, stat(folder, &parent) == 0, parent.st_mode & S_ISVTX != 0
    else { return }
    let user = geteuid()
    if user != 0, file.st_uid != user, parent.st_uid != user {
      errno = EPERM
      throw fileError(path, "cannot be replaced: it is another user's")
    }
  }

  private static func isMountPoint(_ target: String) -> Bool {
    // "36 35 98:0 / /mnt/a rw ...": the fifth word, spaces and backslashes in octal.
    let table = contents(of: "/proc/self/mountinfo")
    var wanted: [UInt8] = []
    for byte in target.utf8 {
      if [0x20, 0x09, 0x0a, 0x5c].contains(byte) {
        let digits = String(byte, radix: 8)
        wanted += Array(("\\" + String(repeating: "0", count: 3 - digits.count) + digits).utf8)
      } else {
        wanted.append(byte)
      }
    }
    return table.split(separator: 0x0a).contains { line in
      let words = line.split(separator: 0x20, maxSplits: 5)
      return words.count > 4 && words[4].elementsEqual(wanted)
    }
  }

  /// The bytes of a file that does not know its size; none where it cannot be read.
  private static func contents(of path: String) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return bytes }
      bytes += buffer[..<count]
    }
  }
}
