import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The system calls that a test replaces to act out a full or broken disk, or an old one.
struct FileCalls {
  var write: (Int32, UnsafeRawPointer, Int) -> Int
  var sync: (Int32) -> Int32
  var rename: (String, String) -> Int32
  /// Gives a file a second name.
  var link: (String, String) -> Int32
  /// Whether a file may be made without a name.
  var makesUnnamedFiles = true

  static var system: FileCalls {
    FileCalls(
      write: { systemWrite($0, $1, $2) }, sync: { fsync($0) },
      rename: { systemRename($0, $1) }, link: { systemLink($0, $1) })
  }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
  write(descriptor, bytes, count)
}

private func systemRename(_ from: String, _ to: String) -> Int32 { rename(from, to) }

private func systemLink(_ from: String, _ to: String) -> Int32 { link(from, to) }

/// The error for a system call that has just failed on `path`; reads `errno`.
package func fileError(_ path: String, _ what: String) -> ABNError {
  let code = errno
  let fix: String
  switch code {
  case ENOSPC, EDQUOT: fix = "Free some space or write to another disk."
  case ENOENT: fix = "Create the folder first or check the spelling."
  case EACCES, EPERM, EROFS: fix = "Choose a place that you may access."
  default: fix = ""
  }
  return ABNError(
    .file, "file \(quoted(path)) \(what)", got: String(cString: strerror(code)),
    wanted: "success of the system call", fix: fix)
}
