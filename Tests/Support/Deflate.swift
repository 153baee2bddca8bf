import CZlib

/// The bytes packed by zlib; `windowBits` -15 for a bare deflate stream, 31 for gzip.
public func packed(_ bytes: [UInt8], windowBits: Int32 = -15) -> [UInt8] {
  var stream = z_stream()
  let code = deflateInit2_(
    &stream, 9, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, zlibVersion(),
    Int32(MemoryLayout<z_stream>.size))
  precondition(code == Z_OK)
  var input = bytes
  let capacity = Int(deflateBound(&stream, uLong(bytes.count))) + 64
  let output = [UInt8](unsafeUninitializedCapacity: capacity) { output, count in
    input.withUnsafeMutableBufferPointer { input in
      stream.next_in = input.baseAddress
      stream.avail_in = uInt(input.count)
      stream.next_out = output.baseAddress
      stream.avail_out = uInt(output.count)
      precondition(deflate(&stream, Z_FINISH) == Z_STREAM_END)
      count = output.count - Int(stream.avail_out)
    }
  }
  deflateEnd(&stream)
  return output
}
