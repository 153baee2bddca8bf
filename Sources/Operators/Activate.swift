// Shapes: x, y, dx, dy all alike, any rank.

import ABNActivations
import ABNGraph
import ABNTensors

/// y = f(x), elementwise, for every activation without parameters of its own.
///
/// Formulas: see `Activation`. Derivatives at a kink: relu and relu6 0 at 0 (and 0 at 6),
/// leaky_relu and elu alpha at 0; NaN is not above anything there. The gradient reads y where the
/// sign of y says all (so that x may be overwritten), else x: where sigmoid, tanh or elu is
/// saturated, y is rounded to its limit, and 1 - y, 1 - y^2 or y + alpha keep few digits of the
/// derivative, or none. What that costs: `RecomputeActivations`.
package struct Activate: OperatorKind {
  package static let kindName = "activate"
  package static let formula = "y = f(x)"

  /// Which function.
  package let function: Activation

  /// What the gradient looks at.
  package enum GradientReads: Sendable, Hashable {
    /// y where it tells the derivative bit by bit as x does, so that x may be overwritten.
    case outputIfPossible
    /// x: for an x that is kept anyway, so that y need not be.
    case input
  }

  private let gradientReads: GradientReads

  /// The function `function`.
  ///
  /// - Throws: `ABNError(.attribute)` for prelu, which has a parameter, and for a number that is
  ///   not finite.
  package init(_ function: Activation, gradientReads: GradientReads = .outputIfPossible) throws {
    try function.requireFinite()
    guard function != .prelu else {
      throw ABNError(
        .attribute, "activation", got: "prelu without slopes", wanted: "a function of x alone",
        fix: "Use the layer prelu, which makes the slopes.")
    }
    self.function = function
    self.gradientReads = gradientReads
  }

  package var name: String { function.name }

  package var attributes: [(name: String, value: String)] { function.printed }

  /// Whether x is there in the backward pass in any case.
  package var readsKeptInput: Bool { gradientReads == .input }

  /// Whether a gradient that needs y gets it computed again from x, which the own gradient keeps:
  /// where x is kept in any case, and where y saturates (sigmoid, tanh, elu), so that y is then no
  /// second tensor.
  package var isComputedAgain: Bool { gradientReads == .input || function.row.saturates }

  /// Whether the derivative is told from y, bit by bit as well as from x: by a comparison.
  package var gradientReadsOutput: Bool {
    if gradientReads == .input { return false }
    return switch function.form {
    case .identity, .clip: true
    case .rectifier(let slope): slope > 0 || function == .relu
    case .learntRectifier, .curve: false
    }
  }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    if function == .identity { return [dy] }
    let seen = gradientReadsOutput ? c.outputs[0] : c.inputs[0]
    return [try c.append(ActivateGradient(of: self), seen, dy)]
  }
}

/// dx = dy * f'(x), from y where `Activate.gradientReadsOutput`, else from x.
package struct ActivateGradient: OperatorKind {
  package static let kindName = "activate_grad"
  package static let formula = "dx = dy * f'(x)"

  /// The operator whose gradient this is.
  package let forward: Activate

  /// The gradient of `forward`.
  package init(of forward: Activate) { self.forward = forward }

  package var name: String { "\(forward.name)_grad" }
  package var attributes: [(name: String, value: String)] { forward.attributes }

  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    try requireType(inputs[1], inputs[0], "dy")
    return [inputs[1]]
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 1, .may), SharingRule(output: 0, input: 0, .may)]
  }

  /// x of the activations without a kink.
  package var toleratesRestored: Set<Int> {
    forward.function.form == .curve(isSmooth: true) ? [0] : []
  }
}
