// Shapes: all alike, any rank.

import ABNGraph
import ABNTensors

/// y = f(x), elementwise, for functions that are no activations.
///
/// Derivatives: abs has 0 at 0; sqrt is infinite at 0.
package struct Unary: OperatorKind {
  /// Which function.
  package enum Function: String, Sendable, Hashable, CaseIterable {
    case square, sqrt, exp, log, abs
  }

  package static let kindName = "unary"
  package static let formula = "y = x^2, sqrt(x), exp(x), log(x) or |x|"

  /// Which function.
  package let function: Function

  /// The function `function`.
  package init(_ function: Function) { self.function = function }

  package var name: String { function.rawValue }

  /// Whether the derivative is told from y, else from x.
  package var gradientReadsOutput: Bool { function == .sqrt }

  package var inputCounts: ClosedRange<Int> { 1...1 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    return [inputs[0]]
  }

  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 0, .may)] }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return [nil] }
    let seen = gradientReadsOutput ? c.outputs[0] : c.inputs[0]
    return [try c.append(UnaryGradient(of: self), seen, dy)]
  }
}

/// dx = dy * f'(x), from y where `Unary.gradientReadsOutput`, else from x.
package struct UnaryGradient: OperatorKind {
  package static let kindName = "unary_grad"
  package static let formula = "dx = dy * f'(x)"

  /// The operator whose gradient this is.
  package let forward: Unary

  /// The gradient of `forward`.
  package init(of forward: Unary) { self.forward = forward }

  package var name: String { "\(forward.name)_grad" }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "input")
    try requireType(inputs[1], inputs[0], "dy")
    return [inputs[1]]
  }
  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 1, .may), SharingRule(output: 0, input: 0, .may)]
  }
  /// square and exp are smooth; sqrt and log are not at 0, and abs reads a sign.
  package var toleratesRestored: Set<Int> {
    forward.function == .square || forward.function == .exp ? [0] : []
  }
}
