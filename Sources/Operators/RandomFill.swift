import ABNGraph
import ABNTensors

/// out = random numbers of one distribution: an initializer.
///
/// Element i depends on (seed, stream, i) alone: see `CounterRandom`.
package struct RandomFill: OperatorKind {
  /// What the numbers are like.
  package enum Distribution: Sendable, Hashable {
    /// Uniform in low ..< high, then rounded to the element type, which may make it `high`.
    case uniform(low: Double, high: Double)
    /// Normal, by Box and Muller's transform.
    case normal(mean: Double, deviation: Double)
    /// Normal, with values further than two deviations from the mean drawn again.
    case truncatedNormal(mean: Double, deviation: Double)
  }

  package static let kindName = "random_fill"
  package static let formula = "out = random(seed, stream, index)"

  /// What the numbers are like.
  package let distribution: Distribution
  /// The shape and element type.
  package let type: TensorType
  /// Which numbers.
  package let source: CounterRandom

  /// Numbers from stream `stream` of `seed`.
  package init(_ distribution: Distribution, type: TensorType, seed: UInt64, stream: UInt64) {
    self.distribution = distribution
    self.type = type
    source = CounterRandom(seed: seed, stream: stream)
  }

  package var name: String {
    switch distribution {
    case .uniform: "uniform_random"
    case .normal: "gaussian_random"
    case .truncatedNormal: "truncated_gaussian_random"
    }
  }

  package var attributes: [(name: String, value: String)] {
    switch distribution {
    case .uniform(let low, let high): [("low", "\(low)"), ("high", "\(high)")]
    case .normal(let mean, let deviation), .truncatedNormal(let mean, let deviation):
      [("mean", "\(mean)"), ("deviation", "\(deviation)")]
    }
  }

  package var inputCounts: ClosedRange<Int> { 0...0 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(type, "output")
    try requireKnown(type, "output")
    try distribution.validate(for: type.dtype)
    return [type]
  }
}

extension RandomFill.Distribution {
  /// Throws unless every number of the distribution is finite in an element type.
  func validate(for dtype: DType) throws {
    let (bounds, isMeant): ([Double], Bool) =
      switch self {
      case .uniform(let low, let high): ([low, high, high - low], low <= high)
      // The largest logarithm is that of 2^-32: see the transform of Box and Muller.
      case .normal(let mean, let deviation):
        ([mean, mean.magnitude + 6.7 * deviation], deviation >= 0)
      case .truncatedNormal(let mean, let deviation):
        ([mean, mean.magnitude + 2 * deviation], deviation >= 0)
      }
    guard isMeant, bounds.allSatisfy(\.isFinite) else {
      throw ABNError(
        .attribute, "distribution", got: "\(self)",
        wanted: "finite numbers, low at most high, and a deviation of at least 0")
    }
    for bound in bounds { try requireHeld(bound, by: dtype, "distribution \(self)") }
  }
}

/// out = given values: an initializer.
package struct AssignValue: OperatorKind {
  package static let kindName = "assign_value"
  package static let formula = "out = values"

  /// The values.
  package let values: Tensor

  /// These values.
  package init(_ values: Tensor) { self.values = values }

  package var inputCounts: ClosedRange<Int> { 0...0 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    [TensorType(try values.checked().shape, values.dtype)]
  }
}
