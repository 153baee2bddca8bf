import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A file, or bytes in memory, that can be read at any place; knows its name for errors.
///
/// Files are read with `pread`, never mapped: a file that another process shortens gives an error
/// here, where a mapping would end the process.
package struct ByteSource: Sendable {
  /// The kind of file, for errors: `npz`.
  package let kind: String
  /// The path, for errors.
  package let path: String
  /// The size in bytes.
  package let byteCount: Int
  /// What may be taken from it.
  package let limits: ReadLimits
  let meter = ReadMeter()

  private enum Storage: Sendable {
    case memory([UInt8])
    case file(Descriptor)
  }

  private final class Descriptor: Sendable {
    let number: Int32
    init(_ number: Int32) { self.number = number }
    deinit { close(number) }
  }

  private let storage: Storage

  /// Opens a file for reading.
  ///
  /// - Throws: `ABNError(.file)` where it cannot be opened or is no regular file.
  package init(path: String, kind: String, limits: ReadLimits = ReadLimits()) throws {
    self.path = path
    self.limits = limits
    self.kind = kind
    let number = path.utf8.contains(0) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if number < 0 { throw fileError(path, "cannot be opened") }
    let descriptor = Descriptor(number)
    var status = stat()
    if fstat(number, &status) != 0 { throw fileError(path, "cannot be examined") }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let isFolder = status.st_mode & S_IFMT == S_IFDIR
      throw ABNError(
        .file, "file \(quoted(path))", got: isFolder ? "a folder" : "a device, pipe or socket",
        wanted: "a regular file")
    }
    byteCount = Int(status.st_size)
    storage = .file(descriptor)
  }

  /// Bytes in memory under a name.
  package init(_ bytes: [UInt8], path: String, kind: String, limits: ReadLimits = ReadLimits()) {
    self.path = path
    self.limits = limits
    self.kind = kind
    byteCount = bytes.count
    storage = .memory(bytes)
  }

  /// Fills `buffer` with the bytes from `offset` on.
  ///
  /// - Throws: `ABNError(.file)` where they end outside of the file or the system fails.
  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
    guard offset >= 0, offset <= byteCount, buffer.count <= byteCount - offset else {
      throw fault(
        at: offset, got: "the end of the file at byte \(byteCount)",
        wanted: "\(buffer.count) bytes", fix: "The file is cut off or damaged.")
    }
    switch storage {
    case .memory(let bytes):
      bytes.withUnsafeBytes {
        buffer.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + buffer.count]))
      }
    case .file(let descriptor):
      var done = 0
      while done < buffer.count, let base = buffer.baseAddress {
        let count = pread(
          descriptor.number, base + done, min(buffer.count - done, 1 << 30), off_t(offset + done))
        if count < 0 {
          if errno == EINTR { continue }
          throw fileError(path, "cannot be read at byte \(offset + done)")
        }
        if count == 0 {
          throw fault(
            at: offset + done, got: "the end of the file", wanted: "\(byteCount) bytes",
            fix: "Another process has shortened the file.")
        }
        done += count
      }
    }
  }

  /// The `count` bytes from `offset` on.
  ///
  /// - Throws: `ABNError(.file)` where they end outside of the file or the system fails.
  package func bytes(at offset: Int, count: Int) throws -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= byteCount, count <= byteCount - offset else {
      throw fault(
        at: offset, got: "the end of the file at byte \(byteCount)", wanted: "\(count) bytes",
        fix: "The file is cut off or damaged.")
    }
    return try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      try read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
      filled = count
    }
  }

  /// The error for something wrong at byte `offset`.
  package func fault(
    _ category: ABNError.Category = .file, at offset: Int, got: String, wanted: String,
    fix: String = ""
  ) -> ABNError {
    ABNError(
      category, "\(kind) file \(quoted(path))", at: "byte \(offset)", got: got, wanted: wanted,
      fix: fix)
  }
}

extension [UInt8] {
  /// The little-endian integer at byte `offset`, which must lie inside.
  func littleEndian<I: FixedWidthInteger>(_ type: I.Type, at offset: Int) -> I {
    withUnsafeBytes { I(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: I.self)) }
  }

  /// Appends the bytes of an integer, lowest first.
  mutating func appendLittleEndian<I: FixedWidthInteger>(_ value: I) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}

/// The size in bytes of a tensor, or nil where a dimension is negative or a product overflows.
///
/// Zero dimensions count as one, so that strides of the shape do not overflow either.
package func checkedBytes(of dimensions: [Int], _ dtype: DType) -> Int? {
  guard dimensions.allSatisfy({ $0 >= 0 }),
    let count = Shape(dimensions.map { max($0, 1) }).checkedElementCount,
    !count.multipliedReportingOverflow(by: 8).overflow
  else { return nil }
  return dimensions.contains(0) ? 0 : count * dtype.bytes
}

extension Tensor {
  /// The position of the first byte that is neither 0 nor 1 in a tensor of booleans.
  var firstInvalidBoolean: Int? {
    guard dtype == .bool else { return nil }
    return withUnsafeBytes { $0.firstIndex { $0 > 1 } }
  }
}
