// Shapes: x, y, dx, dy alike, rank at least 1.

import ABNGraph
import ABNTensors

/// y = exp(x) / sum of exp(x) along an axis; the largest x is taken away first, so that nothing
/// overflows.
public struct Softmax: OperationKind {
  public static let kindName = "softmax"
  public static let formula = "y = exp(x) / sum(exp(x)) along an axis"

  /// The axis, negative ones from the end.
  public let axis: Int

  /// Along `axis`.
  public init(axis: Int = -1) { self.axis = axis }

  public var attributes: [(name: String, value: String)] { [("axis", "\(axis)")] }

  public var inputCounts: ClosedRange<Int> { 1...1 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    _ = try normalizedAxis(axis, rank: inputs[0].shape.rank)
    return [inputs[0]]
  }

  public var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  public func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    return [try c.append(SoftmaxGradient(axis: axis), c.outputs[0], dy)]
  }
}

/// dx = y * (dy - sum of y * dy along the axis), from y's exact bits, in which a y near 1 keeps its digits:
/// 1 - y is the sum of the others.
public struct SoftmaxGradient: OperationKind {
  public static let kindName = "softmax_grad"
  public static let formula = "dx = y * (dy - sum(y * dy))"

  /// The axis, negative ones from the end.
  public let axis: Int

  /// The gradient of a softmax along `axis`. Inputs: y, dy.
  public init(axis: Int) { self.axis = axis }

  public var attributes: [(name: String, value: String)] { [("axis", "\(axis)")] }
  public var inputCounts: ClosedRange<Int> { 2...2 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[1], Softmax(axis: axis).outputTypes(for: [inputs[0]])[0], "dy")
    return [inputs[1]]
  }
  public var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 1, .may), SharingRule(output: 0, input: 0, .may)]
  }
}
