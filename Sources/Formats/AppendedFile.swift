import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A file that grows piece by piece while it is open: a log.
///
/// Each piece is written by one call, so that others who read the file see whole pieces. What a
/// killed process leaves behind is whole but for its last piece; what a power failure leaves, up to
/// the last `flush`.
package final class AppendedFile {
  /// The path.
  package let path: String
  private let descriptor: Int32
  private let calls: FileCalls

  /// Opens a file at its end; one that does not exist is made.
  ///
  /// - Parameter isNew: the file must not exist.
  /// - Throws: `ABNError(.file)` with the system's reason.
  package convenience init(path: String, isNew: Bool = false) throws {
    try self.init(path: path, isNew: isNew, calls: .system)
  }

  init(path: String, isNew: Bool, calls: FileCalls) throws {
    (self.path, self.calls) = (path, calls)
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | (isNew ? O_EXCL : 0)
    descriptor = path.utf8.contains(0) ? -1 : open(path, flags, 0o666)
    if descriptor < 0 { throw fileError(path, "cannot be opened") }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw ABNError(
        .file, "file \(quoted(path))", got: "a device, pipe or socket", wanted: "a regular file")
    }
    if isNew { try Folder.flush(Folder.parent(of: path), for: path, calls: calls) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Appends a piece. Where it cannot be written whole, nothing of it stays.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason, a full disk for one.
  package func append(_ piece: [UInt8]) throws {
    try Uninterrupted.run {
      let start = lseek(descriptor, 0, SEEK_END)
      try piece.withUnsafeBytes { bytes in
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
          let written = calls.write(descriptor, base + done, bytes.count - done)
          if written < 0 {
            if errno == EINTR { continue }
            let error = fileError(path, "cannot be written")
            _ = ftruncate(descriptor, start)
            throw error
          }
          done += written
        }
      }
    }
  }

  /// Appends text as UTF-8.
  package func append(_ text: String) throws { try append(Array(text.utf8)) }

  /// Flushes to the disk what was appended.
  ///
  /// - Throws: `ABNError(.file)` with the system's reason.
  package func flush() throws {
    while calls.sync(descriptor) != 0 {
      if errno != EINTR { throw fileError(path, "cannot be flushed to the disk") }
    }
  }
}
