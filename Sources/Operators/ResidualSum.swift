// Shapes: u, v, z [N, C, ...] (or [N, ..., C]) with at least 16 elements a plane; scale [C];
// saved [3, C].

import ABNActivations
import ABNGraph
import ABNTensors

/// z = act(u + v), the end of a residual block, in a form from which u can be had back:
/// u = act^-1(z) - v.
///
/// u is the output of an in-place layer with the identity, and is needed for that layer's gradient
/// alone. Going back, u is off by about 4 roundings of u + v, which the layer's gradient divides by
/// scale. So the elements of one sample and channel keep their u, bit for bit, where the root mean
/// square of u + v is above `limit` times what tells the channel's elements apart in u, abs(scale)
/// times the root mean square of its xhat, and where the channel is constant (there xhat is exactly
/// 0).
///
/// Inputs: u, v, and scale and saved of the layer that made u.
package struct ResidualSum: OperatorKind {
  package static let kindName = "residual_sum"
  package static let formula = "z = act(u + v)"

  /// The root mean square of u + v, in units of scale times that of xhat, up to which u is computed
  /// back.
  package static let limit = 32.0
  /// The slopes of leaky_relu that are undone: a slope beyond loses digits to underflow.
  static let slopes = 0x1p-10...0x1p10

  /// The layer that made u.
  package let layer: InPlaceActivatedBatchNorm
  /// The slope of leaky_relu below zero; 1 for the identity.
  package let slope: Double

  /// The sum, with the activation after it; nil for an activation that is not undone.
  package init?(after layer: InPlaceActivatedBatchNorm, activation: Activate?) {
    guard layer.activation == .identity else { return nil }
    switch activation?.function.form ?? .identity {
    case .identity: slope = 1
    case .rectifier(let given) where Self.slopes.contains(given): slope = given
    case .rectifier, .learntRectifier, .clip, .curve: return nil
    }
    self.layer = layer
  }

  package var attributes: [(name: String, value: String)] { [("slope", "\(slope)")] }
  package var inputCounts: ClosedRange<Int> { 4...4 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    // u stands for the layer's own output: alike in shape and channels.
    try layer.norm.requireSaved(
      image: inputs[0], scale: inputs[2], bias: inputs[2], saved: inputs[3])
    try requireType(inputs[1], inputs[0], "v")
    return [inputs[0]]
  }
  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 0, input: 1, .may)]
  }
}

/// u = act^-1(z) - v, with the planes that `ResidualSum` kept in their places. Inputs: z, the
/// output of the sum itself, by which the planes are found, and v.
package struct ResidualTerm: OperatorKind {
  package static let kindName = "residual_term"
  package static let formula = "u = act^-1(z) - v"

  /// The sum that is undone.
  package let sum: ResidualSum
  /// The term of `sum` that was let go.
  package init(of sum: ResidualSum) { self.sum = sum }

  package var attributes: [(name: String, value: String)] { sum.attributes }
  package var inputCounts: ClosedRange<Int> { 2...2 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "z")
    try requireType(inputs[1], inputs[0], "v")
    return [inputs[0]]
  }
  package var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .may), SharingRule(output: 0, input: 1, .may)]
  }
}
