import Numerics

/// Floating-point types with an exponential that a compiler can turn into vectors.
protocol VectorFloat: CPUFloat {
  /// exp(x) for x <= 88.
  static func vectorExp(_ x: Self) -> Self
}

extension Double: VectorFloat {
  @inline(__always)
  static func vectorExp(_ x: Double) -> Double { exp(x) }
}

extension Float: VectorFloat {
  /// exp(x) = 2^n exp(r), r = x - n log 2 in -0.35...0.35, by Taylor's sum up to r^7: what is cut
  /// off is below 6e-9 of the result. No branches, no calls. NaN stays NaN. The power of two comes in two
  /// factors, the second of which rounds a result below the least normal number.
  @inline(__always)
  static func vectorExp(_ x: Float) -> Float {
    let clamped: Float = x < -104 ? -104 : x
    // 1.5 * 2^23: the sum has its unit at bit 0, so that n stands in the low bits.
    let magic: Float = 12_582_912
    let shifted = clamped * 1.442_695_04 + magic
    let n = shifted - magic
    // log 2 in two parts, the first with few bits: n times it is exact.
    let r = (clamped - n * 0.693_359_375) + n * 2.121_944_4e-4
    var sum: Float = 1 / 5040
    sum = sum * r + 1 / 720
    sum = sum * r + 1 / 120
    sum = sum * r + 1 / 24
    sum = sum * r + 1 / 6
    sum = sum * r + 0.5
    sum = sum * r + 1
    sum = sum * r + 1
    let exponent = Int32(bitPattern: shifted.bitPattern &- magic.bitPattern)
    let half = exponent &>> 1
    return sum * power(half) * power(exponent &- half)
  }
}

/// 2^n for n in -126...127.
@inline(__always)
private func power(_ n: Int32) -> Float {
  Float(bitPattern: UInt32(bitPattern: (n &+ 127) &<< 23))
}
