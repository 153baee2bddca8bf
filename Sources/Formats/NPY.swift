import ABNTensors

/// The file format of one numpy array (`.npy`).
///
/// `\x93NUMPY`, a version, the length of the header, the header (a Python dict: `descr` is the
/// element type, `fortran_order` the order, `shape` the dimensions) and the elements.
/// Read: versions 1, 2 and 3; float16, float32, float64, int8, uint8, int32, int64, bool; both
/// orders of bytes; both orders of dimensions (the tensor is row-major in either case).
/// Written: version 1, little endian, row-major, the elements from a multiple of 64 bytes on.
///
/// Source: numpy, `numpy.lib.format`.
public enum NPY {
  /// Reads the array in a file.
  ///
  /// - Throws: `ABNError(.file)` with the byte at which the file is damaged or asks for more than
  ///   `limits` allow, `ABNError(.unsupported)` for an element type that `DType` does not have,
  ///   `ABNError(.data)` for a boolean that is neither 0 nor 1.
  public static func read(_ path: String, limits: ReadLimits = ReadLimits()) throws -> Tensor {
    try read(ByteSource(path: path, kind: "npy", limits: limits))
  }

  /// Writes an array; the file appears whole or not at all (see `AtomicFile`).
  ///
  /// - Throws: `ABNError(.unsupported)` for bfloat16, which numpy does not know,
  ///   `ABNError(.file)` where the file cannot be written.
  public static func write(_ tensor: Tensor, to path: String) throws {
    let header = try header(for: tensor, in: "npy file \(quoted(path))")
    try AtomicFile.write(to: path) { writer in
      try writer.write(header)
      try tensor.withUnsafeBytes { try writer.write($0) }
    }
  }

  static func read(_ source: ByteSource) throws -> Tensor {
    try read(ByteStream(source, coding: .stored))
  }

  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// Reads an array that fills the whole stream.
  static func read(_ stream: ByteStream) throws -> Tensor {
    let start = try stream.bytes(8)
    guard Array(start.prefix(6)) == magic else {
      throw stream.fault(
        back: 8, got: "bytes \(start.prefix(6).map { String($0, radix: 16) })",
        wanted: "the mark \\x93NUMPY")
    }
    let lengthBytes: Int
    switch (start[6], start[7]) {
    case (1, 0): lengthBytes = 2
    case (2, 0), (3, 0): lengthBytes = 4
    case (let major, let minor):
      throw stream.fault(
        .unsupported, back: 2, got: "version \(major).\(minor)", wanted: "version 1.0, 2.0 or 3.0")
    }
    let length = try stream.bytes(lengthBytes).reversed().reduce(0) { $0 << 8 | Int($1) }
    let mostBytes = 1 << 20
    guard length <= mostBytes else {
      throw stream.fault(
        back: lengthBytes, got: "a header of \(length) bytes", wanted: "at most \(mostBytes)")
    }
    let text = try stream.bytes(length)
    let header = try NPYHeader(text) { offset, category, got, wanted in
      stream.fault(category, back: text.count - offset, got: got, wanted: wanted)
    }
    return try elements(stream, header)
  }

  private static func elements(_ stream: ByteStream, _ header: NPYHeader) throws -> Tensor {
    guard let bytes = checkedBytes(of: header.dimensions, header.dtype),
      bytes <= stream.mostBytesLeft
    else {
      throw stream.fault(
        got: "shape \(Shape(header.dimensions)) of \(header.dtype)",
        wanted: "a shape whose elements fit into the \(stream.mostBytesLeft) bytes that follow",
        fix: "The file is cut off or damaged.")
    }
    try stream.admit(dimensions: header.dimensions.count, bytes: bytes)
    let stored = header.isFortran ? header.dimensions.reversed() : header.dimensions
    var tensor = try Tensor(uninitialized: Shape(stored), dtype: header.dtype).checked()
    try tensor.withUnsafeMutableBytes { try stream.read(into: $0) }
    if header.isBigEndian {
      tensor.withUnsafeMutableBytes { swapBytes($0, elementBytes: header.dtype.bytes) }
    }
    if let place = tensor.firstInvalidBoolean {
      throw stream.fault(
        .data, back: tensor.bytes - place, got: "a boolean that is neither 0 nor 1",
        wanted: "0 or 1")
    }
    try stream.finish()
    return try header.isFortran ? tensor.reversedDimensions.checked() : tensor
  }

  /// The bytes in front of the elements.
  static func header(for tensor: Tensor, in what: String) throws -> [UInt8] {
    _ = try tensor.checked()
    guard let descriptor = NPYHeader.descriptor(of: tensor.dtype) else {
      throw ABNError(
        .unsupported, what, got: "a tensor of \(tensor.dtype)",
        wanted: "an element type that numpy has",
        fix: "Cast to float32 first, or write safetensors.")
    }
    let dimensions = tensor.shape.dimensions.map(String.init)
    let tuple =
      dimensions.count == 1 ? "(\(dimensions[0]),)" : "(\(dimensions.joined(separator: ", ")))"
    var text = "{'descr': '\(descriptor)', 'fortran_order': False, 'shape': \(tuple), }"
    let prefixBytes = 10
    text += String(repeating: " ", count: 63 - (prefixBytes + text.utf8.count) % 64) + "\n"
    guard let length = UInt16(exactly: text.utf8.count) else {
      throw ABNError(
        .unsupported, what, got: "\(tensor.shape.rank) dimensions",
        wanted: "a header of at most 65535 bytes")
    }
    var bytes = magic + [1, 0]
    bytes.appendLittleEndian(length)
    return bytes + Array(text.utf8)
  }
}

/// Turns big-endian elements into little-endian ones and back.
package func swapBytes(_ buffer: UnsafeMutableRawBufferPointer, elementBytes: Int) {
  func swap<Word: FixedWidthInteger>(_ type: Word.Type) {
    let words = buffer.bindMemory(to: Word.self)
    for i in words.indices { words[i] = words[i].byteSwapped }
  }
  switch elementBytes {
  case 2: swap(UInt16.self)
  case 4: swap(UInt32.self)
  case 8: swap(UInt64.self)
  default: break
  }
}
