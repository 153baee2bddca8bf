// Shapes: x, y, dx, dy all alike, any rank; mask: one bit an element, [ceil(elements / 8)].

import ABNActivations
import ABNGraph
import ABNTensors

/// y = f(x) and, for the gradient, one bit an element: whether the derivative is 1 there.
///
/// What a pass makes of relu, relu6 and leaky_relu where nobody else needs y later: the bits take a
/// 32nd of y's bytes in float32.
package struct MaskedActivate: OperatorKind {
  package static let kindName = "masked_activate"
  package static let formula = "y = f(x); mask = f'(x) is 1"

  /// The activation whose place it takes.
  package let forward: Activate

  /// Whether an activation has a derivative of two values, one of them 1.
  package static func canReplace(_ activation: Activate) -> Bool {
    switch activation.function.form {
    case .clip: activation.function == .relu6
    case .rectifier: activation.function == .relu || activation.gradientReadsOutput
    case .identity, .learntRectifier, .curve: false
    }
  }

  /// `forward` with a mask.
  ///
  /// - Throws: `ABNError(.attribute)` unless `canReplace(forward)`.
  package init(_ forward: Activate) throws {
    guard Self.canReplace(forward) else {
      throw ABNError(
        .attribute, "activation with a mask",
        got: "\(forward.function)",
        wanted:
          "one with a derivative of two values, one of them 1: relu, relu6 or leaky_relu with "
          + "alpha > 0 whose gradient reads y")
    }
    self.forward = forward
  }

  package var name: String { "\(forward.name) with mask" }
  package var attributes: [(name: String, value: String)] { forward.attributes }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let x = try forward.outputTypes(for: inputs)[0]
    let bits = x.shape.isKnown ? (x.shape.elementCount + 7) / 8 : Shape.unknown
    return [x, TensorType([bits], .uint8)]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }
  package func forTest() -> (any OperatorKind)? { forward }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    return [try c.append(MaskedActivateGradient(of: forward), c.outputs[1], dy)]
  }
}

/// dx = dy where the mask's bit is set, else slope * dy; the slope is alpha of leaky_relu, or 0.
/// Inputs: mask, dy.
package struct MaskedActivateGradient: OperatorKind {
  package static let kindName = "masked_activate_grad"
  package static let formula = "dx = dy where the mask is set, else slope * dy"

  /// The activation whose gradient this is.
  package let forward: Activate
  /// The gradient of `forward`.
  package init(of forward: Activate) { self.forward = forward }

  package var name: String { "\(forward.name)_grad from mask" }
  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let made = try MaskedActivate(forward).outputTypes(for: [inputs[1]])
    try requireType(inputs[0], made[1], "mask")
    return [inputs[1]]
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 1, .may)] }
}
