import ABNTensors
import CZlib

/// Reads a range of a source from front to back, decompressing it on the way.
package final class ByteStream {
  /// How the bytes of the range are packed.
  package enum Coding: Sendable {
    /// As they are.
    case stored
    /// Deflate without a frame, as in a zip file (RFC 1951).
    case deflate
    /// Deflate in a zlib frame (RFC 1950).
    case zlib
    /// Deflate in gzip frames, one after the other (RFC 1952): their contents are one.
    case gzip

    var windowBits: Int32 {
      switch self {
      case .stored, .deflate: -15
      case .zlib: 15
      case .gzip: 15 + 16
      }
    }
  }

  /// The source, for errors.
  package let source: ByteSource
  /// The number of unpacked bytes delivered so far.
  package private(set) var position = 0
  /// The CRC-32 of the unpacked bytes delivered so far.
  package private(set) var checksum: UInt32 = 0

  private let coding: Coding
  private let range: Range<Int>
  private var nextInput: Int
  private var input: [UInt8] = []
  private var inputUsed = 0
  private var hasEnded = false
  private var zlib: UnsafeMutablePointer<z_stream>?

  /// A stream over `range` of `source`.
  ///
  /// - Throws: `ABNError(.file)` where the range leaves the source, `.system` where zlib refuses.
  package init(_ source: ByteSource, range: Range<Int>, coding: Coding) throws {
    guard range.lowerBound >= 0, range.upperBound <= source.byteCount else {
      throw source.fault(
        at: range.lowerBound, got: "the end of the file at byte \(source.byteCount)",
        wanted: "\(range.count) bytes", fix: "The file is cut off or damaged.")
    }
    self.source = source
    self.range = range
    self.coding = coding
    nextInput = range.lowerBound
    guard coding != .stored else { return }
    let state = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    state.initialize(to: z_stream())
    let code = inflateInit2_(
      state, coding.windowBits, zlibVersion(), Int32(MemoryLayout<z_stream>.size))
    guard code == Z_OK else {
      state.deallocate()
      throw ABNError(.system, "zlib inflateInit2", got: "code \(code)", wanted: "code 0")
    }
    zlib = state
  }

  deinit {
    if let zlib {
      inflateEnd(zlib)
      zlib.deallocate()
    }
  }

  /// A stream over the whole source.
  ///
  /// - Throws: `ABNError(.system)` where zlib refuses.
  package convenience init(_ source: ByteSource, coding: Coding) throws {
    try self.init(source, range: 0..<source.byteCount, coding: coding)
  }

  /// No more than this many unpacked bytes can follow: a bound for sizes that a header claims.
  ///
  /// Deflate packs at most 258 bytes into 2 bits: a factor of 1032.
  package var mostBytesLeft: Int {
    if coding == .stored { return range.upperBound - nextInput }
    let (most, overflow) = range.count.multipliedReportingOverflow(by: 1032)
    return overflow ? .max : max(0, most - position)
  }

  /// Fills `buffer` with the next bytes.
  ///
  /// - Throws: `ABNError(.file)` where the data ends before or cannot be unpacked.
  package func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    var done = 0
    while done < buffer.count {
      let count = try readSome(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
      if count == 0 {
        throw fault(
          got: "the end of the data", wanted: "\(buffer.count - done) more bytes",
          fix: "The file is cut off or damaged.")
      }
      done += count
    }
  }

  /// The next `count` bytes.
  ///
  /// - Throws: `ABNError(.file)` where the data ends before or cannot be unpacked.
  package func bytes(_ count: Int) throws -> [UInt8] {
    guard count <= mostBytesLeft else {
      throw fault(
        got: "at most \(mostBytesLeft) bytes of data", wanted: "\(count) more bytes",
        fix: "The file is cut off or damaged.")
    }
    return try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      try read(into: UnsafeMutableRawBufferPointer(buffer))
      filled = count
    }
  }

  /// Checks that nothing follows, and that a frame's checksum holds.
  ///
  /// - Throws: `ABNError(.file)` where bytes are left over or the frame is damaged.
  package func finish() throws {
    var extra: UInt8 = 0
    let count = try withUnsafeMutableBytes(of: &extra) { try readSome(into: $0) }
    if count != 0 {
      position -= 1
      throw fault(got: "more data", wanted: "the end of the data", fix: "The file is damaged.")
    }
    let left = range.upperBound - nextInput + input.count - inputUsed
    if left != 0 {
      throw source.fault(
        at: range.upperBound - left, got: "\(left) bytes after the compressed data",
        wanted: "the end of the data", fix: "The file is damaged.")
    }
  }

  /// The error for something wrong `back` bytes before the current position.
  package func fault(
    _ category: ABNError.Category = .file, back: Int = 0, got: String, wanted: String,
    fix: String = ""
  ) -> ABNError {
    if coding == .stored {
      return source.fault(
        category, at: range.lowerBound + position - back, got: got, wanted: wanted, fix: fix)
    }
    return ABNError(
      category, "\(source.kind) file \(quoted(source.path))",
      at: "byte \(position - back) of the data compressed at byte \(range.lowerBound)", got: got,
      wanted: wanted, fix: fix)
  }

  /// Reads some bytes, at least one unless the data has ended.
  private func readSome(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    let wanted = min(buffer.count, 1 << 30)
    guard wanted > 0, let base = buffer.baseAddress else { return 0 }
    let count: Int
    if coding == .stored {
      count = min(wanted, range.upperBound - nextInput)
      if count > 0 {
        try source.read(
          at: nextInput, into: UnsafeMutableRawBufferPointer(start: base, count: count))
        nextInput += count
      }
    } else {
      count = try inflateSome(into: base, count: wanted)
    }
    checksum = UInt32(crc32_z(uLong(checksum), base.assumingMemoryBound(to: UInt8.self), count))
    position += count
    return count
  }

  private func inflateSome(into base: UnsafeMutableRawPointer, count: Int) throws -> Int {
    guard let zlib, !hasEnded else { return 0 }
    zlib.pointee.next_out = base.assumingMemoryBound(to: UInt8.self)
    zlib.pointee.avail_out = uInt(count)
    while !hasEnded && Int(zlib.pointee.avail_out) == count {
      if inputUsed == input.count && nextInput < range.upperBound {
        input = try source.bytes(at: nextInput, count: min(1 << 16, range.upperBound - nextInput))
        nextInput += input.count
        inputUsed = 0
      }
      let code = input.withUnsafeMutableBufferPointer { bytes in
        zlib.pointee.next_in = bytes.baseAddress.map { $0 + inputUsed }
        zlib.pointee.avail_in = uInt(bytes.count - inputUsed)
        let code = inflate(zlib, Z_NO_FLUSH)
        inputUsed = bytes.count - Int(zlib.pointee.avail_in)
        zlib.pointee.next_in = nil
        return code
      }
      let at = nextInput - input.count + inputUsed
      switch code {
      case Z_OK: break
      case Z_STREAM_END: hasEnded = try !beginNextFrame(zlib, at: at)
      case Z_BUF_ERROR:
        throw source.fault(
          at: at, got: "the end of the compressed data", wanted: "its end mark",
          fix: "The file is cut off or damaged.")
      case Z_MEM_ERROR:
        throw ABNError(.system, "zlib inflate", got: "no memory", wanted: "32 KiB of memory")
      default:
        let reason = zlib.pointee.msg.map { String(cString: $0) } ?? "code \(code)"
        throw source.fault(
          at: at, got: "damaged compressed data (\(reason))", wanted: "a deflate stream",
          fix: "The file is damaged.")
      }
    }
    return count - Int(zlib.pointee.avail_out)
  }
}

extension ByteStream {
  /// Whether another gzip frame begins at byte `at`, behind one that has ended.
  private func beginNextFrame(_ zlib: UnsafeMutablePointer<z_stream>, at: Int) throws -> Bool {
    let mark: [UInt8] = [0x1f, 0x8b]
    guard coding == .gzip, range.upperBound - at >= mark.count,
      try source.bytes(at: at, count: mark.count) == mark
    else { return false }
    let code = inflateReset(zlib)
    guard code == Z_OK else {
      throw ABNError(.system, "zlib inflateReset", got: "code \(code)", wanted: "code 0")
    }
    return true
  }

  /// Counts a tensor that is about to be read; see `ByteSource.admit`.
  package func admit(dimensions: Int, bytes: Int) throws {
    try source.admit(dimensions: dimensions, bytes: bytes) { got, wanted, fix in
      fault(got: got, wanted: wanted, fix: fix)
    }
  }
}

/// The CRC-32 of `bytes`, continued from that of the bytes before them.
func cyclicChecksum(_ bytes: UnsafeRawBufferPointer, after checksum: UInt32 = 0) -> UInt32 {
  guard let base = bytes.baseAddress, bytes.count > 0 else { return checksum }
  return UInt32(
    crc32_z(uLong(checksum), base.assumingMemoryBound(to: UInt8.self), z_size_t(bytes.count)))
}
