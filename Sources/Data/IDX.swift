import ABNFormats
import ABNTensors

/// The file format of the MNIST digits: one array, gzipped (also in several pieces) or not.
///
/// Two zero bytes, the element type, the number of dimensions, each dimension as a big-endian
/// 32-bit number, then the elements, row-major and big endian. Whether the file is gzipped is seen
/// from its first bytes, not from its name.
///
/// Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "File formats".
public enum IDX {
  /// Reads the array in a file: uint8, int8, int32, float32 or float64.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged: another mark, an end
  ///   before the last element, bytes behind it; or at which it asks for more than `limits` allow;
  ///   `ABNError(.unsupported)` for 16-bit integers.
  public static func read(_ path: String, limits: ReadLimits = ReadLimits()) throws -> Tensor {
    try read(ByteSource(path: path, kind: "IDX", limits: limits))
  }

  static func read(_ source: ByteSource) throws -> Tensor {
    let isPacked = try source.bytes(at: 0, count: min(2, source.byteCount)) == [0x1f, 0x8b]
    let stream = try ByteStream(source, coding: isPacked ? .gzip : .stored)
    let mark = try stream.bytes(4)
    guard mark[0] == 0, mark[1] == 0 else {
      throw stream.fault(
        back: 4, got: "bytes \(mark)", wanted: "two zero bytes, the element type, the dimensions",
        fix: "This is no IDX file.")
    }
    let dtype: DType
    switch mark[2] {
    case 0x08: dtype = .uint8
    case 0x09: dtype = .int8
    case 0x0c: dtype = .int32
    case 0x0d: dtype = .float32
    case 0x0e: dtype = .float64
    case 0x0b:
      throw stream.fault(
        .unsupported, back: 2, got: "16-bit integers",
        wanted: "uint8, int8, int32, float32 or float64")
    default:
      throw stream.fault(
        back: 2, got: "element type \(mark[2])", wanted: "8, 9, 12, 13 or 14",
        fix: "This is no IDX file.")
    }
    let dimensions = try (0..<Int(mark[3])).map { _ in
      try stream.bytes(4).reduce(0) { $0 << 8 | Int($1) }
    }
    guard let bytes = checkedBytes(of: dimensions, dtype), bytes <= stream.mostBytesLeft else {
      throw stream.fault(
        back: 4 * dimensions.count, got: "shape \(Shape(dimensions)) of \(dtype)",
        wanted: "a shape that fits into the at most \(stream.mostBytesLeft) bytes that follow",
        fix: "The file is cut off or damaged.")
    }
    try stream.admit(dimensions: dimensions.count, bytes: bytes)
    var tensor = try Tensor(uninitialized: Shape(dimensions), dtype: dtype).checked()
    try tensor.withUnsafeMutableBytes {
      try stream.read(into: $0)
      swapBytes($0, elementBytes: dtype.bytes)
    }
    try stream.finish()
    return tensor
  }
}
