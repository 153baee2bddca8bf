import ABNTensors

/// The element type of a tensor in a safetensors file, as the file calls it.
struct SafetensorsType {
  let name: String
  /// The type here; nil: none that holds its values.
  let dtype: DType?
  /// How the elements are read where the type here is another one.
  let foreign: ForeignElement?

  /// Bytes of one element; nil where they are not known.
  var bytes: Int? { foreign?.bytes ?? dtype?.bytes }

  /// Every type that is read.
  static var known: [String] {
    DType.allCases.map { Safetensors.name(of: $0) } + ForeignElement.allCases.map(\.rawValue)
  }

  /// The type of this name.
  init(_ name: String) {
    self.name = name
    foreign = ForeignElement(rawValue: name)
    dtype = foreign?.dtype ?? DType.allCases.first { Safetensors.name(of: $0) == name }
  }
}

/// Element types that `DType` does not have. Each value of theirs is one of a wider type.
enum ForeignElement: String, CaseIterable {
  case int16 = "I16"
  case uint16 = "U16"
  case uint32 = "U32"
  case uint64 = "U64"
  /// Sign, 4 bits of exponent (bias 7), 3 of fraction; no infinities, NaN is all ones: up to 448.
  case float8E4M3 = "F8_E4M3"
  /// The upper half of a binary16: 5 bits of exponent (bias 15), 2 of fraction, infinities.
  case float8E5M2 = "F8_E5M2"
  /// A power of two from 2^-127 to 2^127; 255 is NaN.
  case float8E8M0 = "F8_E8M0"
  /// As E4M3 with bias 8; the only NaN stands in place of -0: up to 240.
  case float8E4M3FNUZ = "F8_E4M3FNUZ"
  /// As E5M2 with bias 16; the only NaN stands in place of -0, no infinities: up to 57344.
  case float8E5M2FNUZ = "F8_E5M2FNUZ"

  var bytes: Int {
    switch self {
    case .int16, .uint16: 2
    case .uint32: 4
    case .uint64: 8
    default: 1
    }
  }

  var dtype: DType {
    switch self {
    case .int16, .uint16: .int32
    case .uint32, .uint64: .int64
    default: .float32
    }
  }

  /// Reads as many elements as the tensor has, a piece at a time.
  func read(_ source: ByteSource, at start: Int, into tensor: inout Tensor) throws {
    let count = tensor.elementCount
    let most = 1 << 16
    for first in stride(from: 0, to: count, by: most) {
      let part = first..<min(first + most, count)
      let place = start + first * bytes
      let piece = try source.bytes(at: place, count: part.count * bytes)
      try tensor.withUnsafeMutableBytes { target in
        try convert(piece, part, target) { element in
          source.fault(
            .data, at: place + element * bytes, got: "a number beyond 2^63 - 1",
            wanted: "one that int64 holds")
        }
      }
    }
  }

  private func convert(
    _ piece: [UInt8], _ part: Range<Int>, _ target: UnsafeMutableRawBufferPointer,
    _ fault: (Int) -> ABNError
  ) throws {
    func each<From: FixedWidthInteger, To>(
      _: From.Type, _: To.Type, _ body: (From) throws -> To
    ) rethrows {
      let target = target.bindMemory(to: To.self)
      for i in 0..<part.count {
        target[part.lowerBound + i] = try body(piece.littleEndian(From.self, at: i * bytes))
      }
    }
    switch self {
    case .int16: each(Int16.self, Int32.self) { Int32($0) }
    case .uint16: each(UInt16.self, Int32.self) { Int32($0) }
    case .uint32: each(UInt32.self, Int64.self) { Int64($0) }
    case .uint64:
      let target = target.bindMemory(to: Int64.self)
      for i in 0..<part.count {
        guard let value = Int64(exactly: piece.littleEndian(UInt64.self, at: i * bytes)) else {
          throw fault(i)
        }
        target[part.lowerBound + i] = value
      }
    default:
      let table = (0...UInt8.max).map { float8($0) }
      each(UInt8.self, Float.self) { table[Int($0)] }
    }
  }

  /// The value of a float of 8 bits.
  ///
  /// Source: Micikevicius and others, "FP8 Formats for Deep Learning" (2022); the OCP Microscaling
  /// specification 1.0 for E8M0; Noune and others, "8-bit Numerical Formats for Deep Neural
  /// Networks" (2022) for the forms without -0.
  func float8(_ bits: UInt8) -> Float {
    let (fractionBits, bias): (Int, Int)
    switch self {
    case .float8E8M0:
      return bits == 0xff ? .nan : Float(sign: .plus, exponent: Int(bits) - 127, significand: 1)
    case .float8E4M3:
      if bits & 0x7f == 0x7f { return .nan }
      (fractionBits, bias) = (3, 7)
    case .float8E5M2: return Float(Float16(bitPattern: UInt16(bits) << 8))
    case .float8E4M3FNUZ: (fractionBits, bias) = (3, 8)
    case .float8E5M2FNUZ: (fractionBits, bias) = (2, 16)
    default: preconditionFailure("\(self) is no float of 8 bits")
    }
    if bits == 0x80, self != .float8E4M3 { return .nan }
    let fraction = Int(bits) & ((1 << fractionBits) - 1)
    let exponent = Int(bits & 0x7f) >> fractionBits
    // Denormal numbers have no leading one, and the exponent of the smallest normal ones.
    let significand = exponent == 0 ? fraction : fraction + 1 << fractionBits
    let value = Float(
      sign: .plus, exponent: max(exponent, 1) - bias - fractionBits, significand: Float(significand)
    )
    return bits & 0x80 == 0 ? value : -value
  }
}
