// Shapes: all alike, any rank.

import ABNGraph
import ABNTensors

/// out = (x - y)^2.
package struct SquaredError: OperatorKind {
  package static let kindName = "square_error_cost"
  package static let formula = "out = (x - y)^2"

  /// Inputs: x, y.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
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

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 0, input: 1, .may)]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dout = c.outputGradients[0] else { return [nil, nil] }
    let dx = try c.append(SquaredErrorGradient(), c.inputs[0], c.inputs[1], dout)
    return [dx, c.needsGradient[1] ? try c.append(Scale(factor: -1), dx) : nil]
  }
}

/// dx = 2 * (x - y) * dout.
package struct SquaredErrorGradient: OperatorKind {
  package static let kindName = "square_error_cost_grad"
  package static let formula = "dx = 2 * (x - y) * dout"

  /// Inputs: x, y, dout.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let made = try SquaredError().outputTypes(for: [inputs[0], inputs[1]])
    try requireType(inputs[2], made[0], "dout")
    return [inputs[2]]
  }
  package var sharing: [SharingRule] { (0..<3).map { SharingRule(output: 0, input: 2 - $0, .may) } }
  /// Smooth in x and y: an error of rounding stays one.
  package var toleratesRestored: Set<Int> { [0, 1] }
}
