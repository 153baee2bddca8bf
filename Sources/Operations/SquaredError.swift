// Shapes: all alike, any rank.

import ABNGraph
import ABNTensors

/// out = (x - y)^2.
public struct SquaredError: OperationKind {
  public static let kindName = "square_error_cost"
  public static let formula = "out = (x - y)^2"

  /// Inputs: x, y.
  public init() {}

  public var inputCounts: ClosedRange<Int> { 2...2 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (x, y) = (inputs[0], inputs[1])
    try requireFloatingPoint(x, "x")
    try requireSameDType(x, y, "x and y")
    guard x.shape.rank == y.shape.rank,
      zip(x.shape.dimensions, y.shape.dimensions).allSatisfy(agrees)
    else {
      throw ABNError(
        .shape, "x and y", got: "shapes \(x.shape) and \(y.shape)", wanted: "one shape")
    }
    let shape = zip(x.shape.dimensions, y.shape.dimensions).map { max($0, $1) }
    return [TensorType(Shape(shape), x.dtype)]
  }

  public var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 0, input: 1, .may)]
  }

  public func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil, nil] }
    let dx = try c.append(SquaredErrorGradient(), c.inputs[0], c.inputs[1], dout)
    return [dx, c.needsGradient[1] ? try c.append(Scale(factor: -1), dx) : nil]
  }
}

/// dx = 2 * (x - y) * dout.
public struct SquaredErrorGradient: OperationKind {
  public static let kindName = "square_error_cost_grad"
  public static let formula = "dx = 2 * (x - y) * dout"

  /// Inputs: x, y, dout.
  public init() {}

  public var inputCounts: ClosedRange<Int> { 3...3 }
  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let made = try SquaredError().outputTypes(for: [inputs[0], inputs[1]])
    try requireType(inputs[2], made[0], "dout")
    return [inputs[2]]
  }
  public var sharing: [SharingRule] { (0..<3).map { SharingRule(output: 0, input: 2 - $0, .may) } }
  /// Smooth in x and y: an error of rounding stays one.
  public var toleratesRestored: Set<Int> { [0, 1] }
}
