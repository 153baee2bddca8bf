import ABNRuntime
import ABNTensors

// Conversions between the 16-bit types and float32, in loops without branches or calls, which become
// vectors on every processor. Widening is exact; narrowing rounds to nearest, ties to even; NaN stays
// NaN, what is too large becomes infinite.

/// The float16 with these bits.
@inline(__always)
private func widened(float16 bits: UInt16) -> Float {
  let wide = UInt32(bits & 0x7fff) << 13
  let exponent = wide & 0x0f80_0000
  // The exponents' offsets differ by 112; infinity and NaN go to the top, numbers below the least
  // normal one are put right by a subtraction that normalizes them.
  let normal = Float(bitPattern: wide &+ 112 << 23)
  let special = Float(bitPattern: wide &+ 224 << 23)
  let tiny = Float(bitPattern: wide &+ 113 << 23) - 0x1p-14
  let magnitude = exponent == 0x0f80_0000 ? special : exponent == 0 ? tiny : normal
  return Float(bitPattern: magnitude.bitPattern | UInt32(bits & 0x8000) << 16)
}

/// The bits of the float16 nearest to `value`.
@inline(__always)
private func narrowed(float16 value: Float) -> UInt16 {
  let bits = value.bitPattern
  let magnitude = bits & 0x7fff_ffff
  // Adding 0.5 leaves a small number's multiple of 2^-24 in the low bits, rounded.
  let tiny = (Float(bitPattern: magnitude) + 0.5).bitPattern &- 0x3f00_0000
  let normal = (magnitude &- 112 << 23 &+ 0xfff &+ (magnitude >> 13 & 1)) >> 13
  let special: UInt32 =
    magnitude > 0x7f80_0000 ? 0x7e00 | magnitude >> 13 & 0x3ff : 0x7c00
  let result =
    magnitude >= 0x4780_0000 ? special : magnitude < 0x3880_0000 ? tiny : normal
  return UInt16(truncatingIfNeeded: result | bits >> 16 & 0x8000)
}

/// The bits of the bfloat16 nearest to `value`.
@inline(__always)
private func narrowed(bfloat16 value: Float) -> UInt16 {
  let bits = value.bitPattern
  let rounded = (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16
  let quiet = bits >> 16 | 0x40
  return UInt16(truncatingIfNeeded: value != value ? quiet : rounded)
}

extension DType {
  /// Whether an element has 16 bits and is computed with in float32.
  var is16Bits: Bool { self == .float16 || self == .bfloat16 }

  /// out = `count` elements of this 16-bit type, `stride` apart.
  func widen(
    _ from: UnsafeRawPointer, _ count: Int, stride: Int = 1, into out: UnsafeMutablePointer<Float>
  ) {
    let bits = from.assumingMemoryBound(to: UInt16.self)
    if stride == 1 {
      if self == .float16 {
        for i in 0..<count { out[i] = widened(float16: bits[i]) }
      } else {
        for i in 0..<count { out[i] = Float(bitPattern: UInt32(bits[i]) << 16) }
      }
    } else {
      for i in 0..<count {
        let own = bits[i * stride]
        out[i] = self == .float16 ? widened(float16: own) : Float(bitPattern: UInt32(own) << 16)
      }
    }
  }

  /// out = the nearest numbers of this 16-bit type.
  func narrow(_ from: UnsafePointer<Float>, _ count: Int, into out: UnsafeMutableRawPointer) {
    let bits = out.assumingMemoryBound(to: UInt16.self)
    if self == .float16 {
      for i in 0..<count { bits[i] = narrowed(float16: from[i]) }
    } else {
      for i in 0..<count { bits[i] = narrowed(bfloat16: from[i]) }
    }
  }
}

/// Calls `body` for a few neighbours of a range at a time, with room for two float32 copies of them.
@inline(__always)
func forEachTile(
  of range: Range<Int>,
  _ body: (Range<Int>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void
) {
  // 1 KiB is the most that a temporary allocation keeps on the stack.
  let length = 256
  withUnsafeTemporaryAllocation(of: Float.self, capacity: length) { a in
    withUnsafeTemporaryAllocation(of: Float.self, capacity: length) { b in
      var first = range.lowerBound
      while first < range.upperBound {
        let end = min(first + length, range.upperBound)
        body(first..<end, a.baseAddress!, b.baseAddress!)
        first = end
      }
    }
  }
}
