// Shapes: as in Normalization.swift; slopes [1].

import ABNActivations
import ABNGraph
import ABNTensors

/// z = act(scale * (x - mean) / sqrt(variance + epsilon) + bias), stored over x.
///
/// The activation is one that can be inverted: identity, leaky_relu and elu with alpha > 0, prelu.
/// The gradient reads z; x is gone. Inputs: x, scale, bias, moving mean, moving variance, slopes
/// for prelu and, if asked for, momentum.
///
/// Source: Rota Bulo, Porzi, Kontschieder, "In-Place Activated BatchNorm for Memory-Optimized
/// Training of DNNs", CVPR 2018, arXiv 1712.02616.
package struct InPlaceActivatedBatchNorm: OperatorKind {
  package static let kindName = "inplace_abn"
  package static let formula =
    "z = act(scale * (x - mean) / sqrt(variance + epsilon) + bias), over x"

  /// Momentum, epsilon, layout and mode.
  package let norm: NormalizationAttributes
  /// The activation.
  package let activation: Activation

  /// An in-place activated batch normalization.
  ///
  /// - Throws: `ABNError(.attribute)` for an activation that z does not determine: build it as the
  ///   identity followed by the activation.
  package init(_ norm: NormalizationAttributes, activation: Activation) throws {
    guard activation.isInvertible else {
      throw ABNError(
        .attribute, "activation", got: "\(activation)",
        wanted: "one that can be inverted: identity, prelu, leaky_relu or elu with alpha > 0")
    }
    self.norm = norm
    self.activation = activation
  }

  var hasSlopes: Bool { activation == .prelu }

  package var attributes: [(name: String, value: String)] {
    [("act", activation.name)] + activation.printed + norm.printed
  }

  package var inputCounts: ClosedRange<Int> {
    let count = 5 + (hasSlopes ? 1 : 0) + (norm.hasMomentumInput ? 1 : 0)
    return count...count
  }

  /// Throws unless slopes, where the activation has some, are what they must be.
  func requireSlopes(_ inputs: [TensorType], at position: Int) throws {
    guard hasSlopes else { return }
    try requireType(inputs[position], TensorType([1], inputs[0].dtype.accumulation), "slopes")
  }

  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireSlopes(inputs, at: 5)
    return try norm.inferTypes(inputs)
  }

  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may)] + norm.updates
  }

  package func forTest() -> (any OperatorKind)? {
    try? InPlaceActivatedBatchNorm(norm.forTest, activation: activation)
  }
  package var inputCountForTest: Int? { hasSlopes ? 6 : 5 }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    try norm.requireTraining("inplace_abn")
    guard let dz = c.outputGradients[0] else { return c.inputs.map { _ in nil } }
    var seen = [c.outputs[0], dz, c.inputs[1], c.inputs[2], c.outputs[1]]
    if hasSlopes { seen.append(c.inputs[5]) }
    let made = try c.append(InPlaceABNGradient(of: self), seen)
    var results: [Variable?] = c.inputs.map { _ in nil }
    for position in 0..<3 { results[position] = made[position] }
    if hasSlopes { results[5] = made[3] }
    return results
  }
}

/// The in-place layer and an activation that reads its result y, in one step: y as the layer makes
/// it, and behind its outputs z = act(y) in memory of its own. What a pass makes of the two; the
/// inputs are the layer's.
package struct InPlaceABNWithActivation: OperatorKind {
  package static let kindName = "inplace_abn_act"
  package static let formula =
    "y = scale * (x - mean) / sqrt(variance + epsilon) + bias; z = act(y)"

  /// The layer.
  package let layer: InPlaceActivatedBatchNorm
  /// The activation.
  package let outer: Activate

  /// A layer and the activation behind it; nil unless the layer's own activation is the identity.
  package init?(_ layer: InPlaceActivatedBatchNorm, behind outer: Activate) {
    guard layer.activation == .identity else { return nil }
    self.layer = layer
    self.outer = outer
  }

  package var name: String { "\(InPlaceActivatedBatchNorm.kindName) and \(outer.name)" }
  package var attributes: [(name: String, value: String)] { layer.attributes + outer.attributes }
  package var inputCounts: ClosedRange<Int> { layer.inputCounts }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let types = try layer.inferTypes(inputs)
    return types + [types[0]]
  }
  package var sharing: [SharingRule] { layer.sharing }
}

/// dx over dz, dscale, dbias and, for prelu, dslopes, from z alone: y = act^-1(z),
/// dy = dz * act'(y), dbias = sum(dy), dscale = sum(dy * xhat),
/// dx = scale * inv * (dy - dbias / m - xhat * dscale / m), without the last two terms for moving
/// statistics. Inputs: z, dz, scale, bias, saved and, for prelu, slopes.
///
/// With an activation behind the layer (`outer`, what a pass makes of its gradient and this one) dz
/// is the gradient of outer(z), and what the formula starts from is dz * outer'(z).
package struct InPlaceABNGradient: OperatorKind {
  package static let kindName = "inplace_abn_grad"
  package static let formula = "dx = scale * inv * (dy - dbias / m - xhat * dscale / m), from z"

  /// The operator whose gradient this is.
  package let forward: InPlaceActivatedBatchNorm
  /// An activation that read z, and whose result dz is the gradient of.
  package let outer: Activate?

  /// The gradient of `forward`.
  package init(of forward: InPlaceActivatedBatchNorm) {
    self.forward = forward
    outer = nil
  }

  /// The gradient of `outer` behind `forward`; nil unless the layer's own activation is the
  /// identity.
  package init?(of forward: InPlaceActivatedBatchNorm, behind outer: Activate) {
    guard forward.activation == .identity else { return nil }
    self.forward = forward
    self.outer = outer
  }

  package var name: String { outer.map { "\(Self.kindName) of \($0.name)" } ?? Self.kindName }
  package var attributes: [(name: String, value: String)] {
    forward.attributes + (outer?.attributes ?? [])
  }
  package var inputCounts: ClosedRange<Int> { forward.hasSlopes ? 6...6 : 5...5 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try forward.norm.requireSaved(
      image: inputs[0], scale: inputs[2], bias: inputs[3], saved: inputs[4])
    try requireType(inputs[1], inputs[0], "dz")
    try forward.requireSlopes(inputs, at: 5)
    return [inputs[1], inputs[2], inputs[3]] + (forward.hasSlopes ? [inputs[5]] : [])
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 1, .may)] }
  /// z where nothing hangs on its sign. Of the other activations the derivative jumps at zero, and
  /// a restored zero may be off by the last digit.
  package var toleratesRestored: Set<Int> {
    if let outer { return ActivateGradient(of: outer).toleratesRestored }
    return switch forward.activation.form {
    case .identity, .curve(isSmooth: true): [0]
    case .rectifier, .learntRectifier, .clip, .curve: []
    }
  }
}
