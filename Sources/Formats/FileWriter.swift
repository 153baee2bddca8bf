import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Takes the bytes of a file that `AtomicFile` writes, through a buffer of 1 MiB.
///
/// It is of use only inside the closure that it was given to.
package final class FileWriter {
  /// The number of bytes written so far.
  package private(set) var position = 0

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
  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    guard !isRetired else {
      throw ABNError(
        .file, "writer of \(quoted(path))", got: "bytes after its closure had ended",
        wanted: "all bytes within the closure")
    }
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
  package func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try write($0) }
  }

  /// Appends text as UTF-8.
  ///
  /// - Throws: `ABNError(.file)` with the path and the system's reason.
  package func write(_ text: String) throws { try write(Array(text.utf8)) }

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
