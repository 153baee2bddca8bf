// Shapes: x, out, dx, dy alike; slopes broadcast to x, dimensions aligned at the right.

import ABNGraph
import ABNTensors

/// out = x where x > 0, else slope * x, with learnt slopes.
///
/// Derivative at 0: slope for x, 0 for the slope.
package struct PReLU: OperatorKind {
  package static let kindName = "prelu"
  package static let formula = "out = x where x > 0, else slope * x"

  /// Inputs: x, slopes.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    guard inputs[1].dtype == inputs[0].dtype.accumulation else {
      throw ABNError(
        .dtype, "slopes", got: "\(inputs[1].dtype) for an input of \(inputs[0].dtype)",
        wanted: "\(inputs[0].dtype.accumulation)")
    }
    let (x, slopes) = (inputs[0].shape, inputs[1].shape)
    guard slopes.rank <= x.rank,
      zip(slopes.dimensions.reversed(), x.dimensions.reversed())
        .allSatisfy({ $0 == 1 || agrees($0, $1) })
    else {
      throw ABNError(
        .shape, "slopes", got: "shape \(slopes) for an input \(x)",
        wanted: "at each axis from the right 1 or the input's size")
    }
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil, nil] }
    let (x, slopes) = (c.inputs[0], c.inputs[1])
    let results = try c.append(PReLUGradient(), [x, slopes, dy])
    guard c.needsGradient[1] else { return [results[0], nil] }
    let summed =
      slopes.shape == x.shape
      ? results[1] : try c.append(SumToShape(axis: -1), results[1], slopes)
    return [results[0], summed]
  }
}

/// dx = dy * (1 where x > 0, else slope), and terms = x * dy where x <= 0, else 0, whose sum over
/// the broadcast axes is the gradient of the slopes.
package struct PReLUGradient: OperatorKind {
  package static let kindName = "prelu_grad"
  package static let formula = "dx = dy where x > 0, else slope * dy; terms = min(x, 0) * dy"

  /// Inputs: x, slopes, dy. The sign of x decides, so that x must have its exact bits.
  package init() {}

  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[2], PReLU().outputTypes(for: [inputs[0], inputs[1]])[0], "dy")
    return [inputs[0], TensorType(inputs[0].shape, inputs[1].dtype)]
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 2, .may), SharingRule(output: 1, input: 0, .may)]
  }
}
