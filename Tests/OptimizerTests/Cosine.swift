#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension Double {
  /// The cosine of an angle in radians.
  static func cosine(_ angle: Double) -> Double { cos(angle) }
  /// base^exponent.
  static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
}
