// Shapes: gradient any; squared norms and scales [1] float64.

import ABNGraph
import ABNTensors

/// out = the sum of x's squares, added up in float64 in an order that no thread count changes.
package struct SquaredNorm: OperatorKind {
  package static let kindName = "squared_norm"
  package static let formula = "out = sum(x * x)"

  /// The square of the Euclidean norm.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    return [TensorType([1], .float64)]
  }
}

/// out = limit / max(limit, norm), norm = sqrt(x0 + x1 + ...): what a gradient is multiplied with
/// so that its norm (with several inputs: the common norm of all) is at most `limit`.
///
/// A norm that is not a number, or infinite, gives NaN: the parameters show it instead of training
/// on with a gradient that was lost.
package struct ClipScale: OperatorKind {
  package static let kindName = "clip_scale"
  package static let formula = "out = limit / max(limit, sqrt(x0 + x1 + ...))"

  /// The largest norm allowed.
  package let limit: Double

  /// The scale for norms of at most `limit`.
  ///
  /// - Throws: `ABNError(.attribute)` unless the limit is a finite number above 0.
  package init(limit: Double) throws {
    guard limit > 0, limit.isFinite else {
      throw ABNError(
        .attribute, "norm of the gradient clip", got: "\(limit)", wanted: "a finite number above 0")
    }
    self.limit = limit
  }

  package var attributes: [(name: String, value: String)] { [("limit", "\(limit)")] }

  package var inputCounts: ClosedRange<Int> { 1...Int.max }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    for input in inputs where input != TensorType([1], .float64) {
      throw ABNError(.dtype, "squared norm", got: "\(input)", wanted: "float64[1]")
    }
    return [TensorType([1], .float64)]
  }

  /// The scale for a sum of squares.
  package func scale(squaredNorm: Double) -> Double {
    let norm = squaredNorm.squareRoot()
    guard norm.isFinite else { return .nan }
    return norm > limit ? limit / norm : 1
  }
}
