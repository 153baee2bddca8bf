import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The random numbers of one picture or batch: as many as are asked for, the same for the same
/// place.
struct Draws {
  private let source: CounterRandom
  private let place: UInt64
  private var count: UInt64 = 0
  private var words = SIMD4<UInt32>()

  /// - Parameter place: below 2^40: the numbers of different places are different blocks of the
  ///   stream.
  init(_ source: CounterRandom, place: Int) {
    self.source = source
    self.place = UInt64(place)
  }

  /// 32 random bits.
  mutating func bits() -> UInt32 {
    if count % 4 == 0 { words = source.words(block: place | (count / 4) << 40) }
    defer { count += 1 }
    return words[Int(count % 4)]
  }

  /// Uniform in [0, 1), with 32 bits.
  mutating func uniform() -> Double { Double(bits()) * 0x1p-32 }

  /// Uniform between two numbers.
  mutating func uniform(_ low: Double, _ high: Double) -> Double {
    low + (high - low) * uniform()
  }

  /// Uniform in 0..<count; off by less than count / 2^32.
  mutating func below(_ count: Int) -> Int {
    Int((UInt64(bits()) * UInt64(count)) >> 32)
  }

  /// True with this probability.
  mutating func happens(_ probability: Double) -> Bool { uniform() < probability }

  /// A standard normal number, by Box and Muller.
  mutating func normal() -> Double {
    let radius = (-2 * log(1 - uniform())).squareRoot()
    return radius * cos(2 * .pi * uniform())
  }

  /// A number of the gamma distribution with this shape and scale 1.
  ///
  /// Source: G. Marsaglia, W. Tsang, "A Simple Method for Generating Gamma Variables" (ACM TOMS
  /// 2000); shapes below 1 by their section 6.
  mutating func gamma(_ shape: Double) -> Double {
    if shape < 1 { return gamma(shape + 1) * pow(1 - uniform(), 1 / shape) }
    let d = shape - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
      let x = normal()
      let v = (1 + c * x) * (1 + c * x) * (1 + c * x)
      if v > 0, log(1 - uniform()) < x * x / 2 + d - d * v + d * log(v) { return d * v }
    }
  }

  /// A number of the distribution Beta(alpha, alpha).
  mutating func beta(_ alpha: Double) -> Double {
    let (a, b) = (gamma(alpha), gamma(alpha))
    // Both are 0 for a tiny alpha, where the distribution is one of 0 and 1.
    return a + b > 0 ? a / (a + b) : Double(bits() & 1)
  }
}
