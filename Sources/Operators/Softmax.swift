// Shapes: x, y, dx, dy alike, rank at least 1.

import ABNGraph
import ABNTensors

/// y = exp(x) / sum of exp(x) along an axis; the largest x is taken away first, so that nothing
/// overflows.
package struct Softmax: OperatorKind {
  package static let kindName = "softmax"
  package static let formula = "y = exp(x) / sum(exp(x)) along an axis"

  /// The axis, negative ones from the end.
  package let axis: Int

  /// Along `axis`.
  package init(axis: Int = -1) { self.axis = axis }

  package var attributes: [(name: String, value: String)] { [("axis", "\(axis)")] }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    _ = try normalizedAxis(axis, rank: inputs[0].shape.rank)
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    return [try c.append(SoftmaxGradient(axis: axis), c.outputs[0], dy)]
  }
}

/// dx = y * (dy - sum of y * dy along the axis), from y's exact bits, in which a y near 1 keeps its
/// digits: 1 - y is the sum of the others.
package struct SoftmaxGradient: OperatorKind {
  package static let kindName = "softmax_grad"
  package static let formula = "dx = y * (dy - sum(y * dy))"

  /// The axis, negative ones from the end.
  package let axis: Int

  /// The gradient of a softmax along `axis`. Inputs: y, dy.
  package init(axis: Int) { self.axis = axis }

  package var attributes: [(name: String, value: String)] { [("axis", "\(axis)")] }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[1], Softmax(axis: axis).outputTypes(for: [inputs[0]])[0], "dy")
    return [inputs[1]]
  }
  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 1, .may), SharingRule(output: 0, input: 0, .may)]
  }
}
