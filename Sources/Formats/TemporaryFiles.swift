import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The names that this package gives to files until they are complete, and what becomes of those
/// that a killed process left behind.
///
/// A process holds a lock on each of its temporaries (`flock`), which the system takes away when
/// the process ends, however it ends: a temporary without a lock has no owner any more.
package enum TemporaryFiles {
  /// Whether a file of this name is a temporary: `.abn-`, 1 to 16 hexadecimal digits, `.tmp`.
  package static func isTemporary(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    let (head, tail) = (Array(".abn-".utf8), Array(".tmp".utf8))
    guard bytes.starts(with: head), bytes.suffix(tail.count).elementsEqual(tail) else {
      return false
    }
    let digits = bytes.dropFirst(head.count).dropLast(tail.count)
    return (1...16).contains(digits.count)
      && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// Removes the temporaries that killed processes left in a folder; a change of several files that
  /// one of them had begun (`AtomicFiles`) is brought to an end or undone first.
  ///
  /// Left alone: those of a process that lives, in whatever container, those of another user,
  /// links, and all where the file system has no locks. What cannot be removed stays.
  package static func removeAbandoned(in folder: String) {
    for name in (try? Folder.allEntries(of: folder)) ?? [] {
      guard let name, isTemporary(name) else { continue }
      let path = "\(folder)/\(name)"
      var status = stat()
      guard lstat(path, &status) == 0, status.st_uid == geteuid(),
        [S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT)
      else { continue }
      let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      guard lock(descriptor, at: path) == .held else { continue }
      if status.st_mode & S_IFMT == S_IFREG {
        unlink(path)
      } else {
        StagedChange(abandoned: name, in: folder).recover()
      }
    }
  }

  /// A name that nobody else chooses.
  static func newName() -> String {
    ".abn-\(String(UInt64.random(in: .min ... .max), radix: 16)).tmp"
  }

  /// A path in `folder` that nobody else chooses.
  package static func newPath(in folder: String) -> String { "\(folder)/\(newName())" }

  /// What became of an attempt to lock a file.
  enum Lock {
    case held
    /// Another process holds it, or has removed the file meanwhile.
    case lost
    /// The file system has no locks.
    case unavailable
  }

  /// Locks an open file that stands at `path`.
  static func lock(_ descriptor: Int32, at path: String) -> Lock {
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      return errno == EWOULDBLOCK ? .lost : .unavailable
    }
    return isSame(descriptor, path) ? .held : .lost
  }

  /// Makes a temporary folder, which is this process's for as long as the descriptor is open.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason, in the name of `path`.
  static func makeFolder(
    in folder: String, for path: String
  ) throws -> (name: String, descriptor: Int32) {
    for _ in 0..<100 {
      let name = newName()
      guard mkdir("\(folder)/\(name)", 0o777) == 0 else {
        if errno == EEXIST || errno == EINTR { continue }
        break
      }
      let descriptor = open("\(folder)/\(name)", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      // Somebody who removes abandoned ones may have seen it before it was locked.
      if descriptor < 0, errno == ENOENT { continue }
      guard descriptor >= 0 else { break }
      if lock(descriptor, at: "\(folder)/\(name)") != .lost { return (name, descriptor) }
      close(descriptor)
    }
    throw fileError(path, "cannot create anything in the folder \(quoted(folder))")
  }

  private static func isSame(_ descriptor: Int32, _ path: String) -> Bool {
    var (open, named) = (stat(), stat())
    return fstat(descriptor, &open) == 0 && lstat(path, &named) == 0
      && open.st_ino == named.st_ino && open.st_dev == named.st_dev
  }
}
