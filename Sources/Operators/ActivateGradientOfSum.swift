// Shapes: y, da, db, dx all alike, any rank.

import ABNActivations
import ABNGraph
import ABNTensors

/// dx = (da + db) * f'(x): the gradient of an activation whose result two operators read, in one
/// pass over memory.
///
/// What a pass makes of a sum of two gradients and the gradient of relu or leaky_relu behind it, as
/// at the end of every residual block: four tensors are moved where six were. Bit by bit the same,
/// but for elements of 16 bits, whose sum is not rounded in between.
/// Inputs: y, da, db.
package struct ActivateGradientOfSum: OperatorKind {
  package static let kindName = "activate_grad_of_sum"
  package static let formula = "dx = (da + db) * f'(x)"

  /// The activation whose gradient this is.
  package let forward: Activate
  /// The derivative where y is not positive.
  package let slope: Double

  /// The gradient of `forward` from two parts; nil for an activation whose derivative is not 1
  /// where y is positive and constant elsewhere.
  package init?(of forward: Activate) {
    switch forward.function.form {
    case .rectifier(let slope) where forward.function == .relu || forward.gradientReadsOutput:
      self.slope = slope
    case .identity, .rectifier, .learntRectifier, .clip, .curve: return nil
    }
    self.forward = forward
  }

  package var name: String { "\(forward.name)_grad of sum" }
  package var attributes: [(name: String, value: String)] { forward.attributes }

  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "y")
    try requireType(inputs[1], inputs[0], "da")
    try requireType(inputs[2], inputs[0], "db")
    return [inputs[1]]
  }

  package var sharing: [SharingRule] {
    [1, 2, 0].map { SharingRule(output: 0, input: $0, .may) }
  }
}
