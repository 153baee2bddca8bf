// Shapes: x any; out: x without the reduced axes, or with them as 1 (keepDimensions); [1] where
// every axis is reduced.

import ABNGraph
import ABNTensors

/// out = sum or mean of x over axes.
package struct Reduce: OperatorKind {
  /// Sum or mean.
  package enum Function: String, Sendable, Hashable {
    case sum = "reduce_sum"
    case mean = "reduce_mean"
  }

  package static let kindName = "reduce"
  package static let formula = "out = sum(x) over axes, divided by their size for the mean"

  /// Sum or mean.
  package let function: Function
  /// The axes, negative ones from the end; nil: all.
  package let axes: [Int]?
  /// Whether reduced axes stay, with size 1.
  package let keepDimensions: Bool

  /// Sum or mean over `axes`.
  package init(_ function: Function, axes: [Int]? = nil, keepDimensions: Bool = false) {
    self.function = function
    self.axes = axes
    self.keepDimensions = keepDimensions
  }

  package var name: String { function.rawValue }
  package var attributes: [(name: String, value: String)] {
    [("axes", axes.map { "\($0)" } ?? "all")] + (keepDimensions ? [("keep", "true")] : [])
  }

  /// Which axes of a tensor of this rank are reduced.
  package func reducedAxes(rank: Int) throws -> Set<Int> {
    guard let axes else { return Set(0..<rank) }
    return Set(try axes.map { try normalizedAxis($0, rank: rank) })
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    let shape = inputs[0].shape
    let reduced = try reducedAxes(rank: shape.rank)
    var kept: [Int] = []
    for axis in 0..<shape.rank {
      if reduced.contains(axis) {
        if keepDimensions { kept.append(1) }
      } else {
        kept.append(shape[axis])
      }
    }
    return [TensorType(Shape(kept.isEmpty ? [1] : kept), inputs[0].dtype)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil] }
    return [try c.append(ReduceGradient(of: self), c.inputs[0], dout)]
  }
}

/// dx = dout broadcast over the reduced axes, divided by their size for the mean; x is read for its
/// shape only.
package struct ReduceGradient: OperatorKind {
  package static let kindName = "reduce_grad"
  package static let formula = "dx = dout broadcast, divided by the reduced size for the mean"

  /// The operator whose gradient this is.
  package let forward: Reduce

  /// The gradient of `forward`.
  package init(of forward: Reduce) { self.forward = forward }

  package var name: String { "\(forward.name)_grad" }
  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[1], forward.outputTypes(for: [inputs[0]])[0], "dout")
    return [inputs[0]]
  }
  package var readsTypeOnly: Set<Int> { [0] }
}
