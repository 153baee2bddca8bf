// Shapes: x, w, bias and y as in Conv2D.swift; residual as y; scale, bias, mean, variance [O].

import ABNActivations
import ABNGraph
import ABNTensors

/// y = act(conv2d(x, w) + bias + residual), one pass over y: for programs without a gradient.
///
/// Inputs: x, w, bias and, optionally, residual. The activation is identity or leaky_relu: exact in
/// two instructions, NaN included, which oneDNN's relu loses. Passes make it; see
/// `FoldNormalizations` in `Passes`. The name is Paddle's.
package struct Conv2DFusion: OperatorKind {
  package static let kindName = "conv2d_fusion"
  package static let formula = "y = act(conv2d(x, w) + bias + residual)"

  /// The convolution.
  package let convolution: Conv2D
  /// Whether a residual is added, the last input.
  package let hasResidual: Bool
  /// The activation.
  package let activation: Activation
  /// The slope of leaky_relu below zero; nil for the identity.
  package let slope: Double?

  /// A fused convolution; nil for an activation that it does not take, leaky_relu with a slope that
  /// is 0 in float32 among them.
  package init?(
    _ convolution: Conv2D, hasResidual: Bool = false, activation: Activation = .identity
  ) {
    switch activation.form {
    case .identity: slope = nil
    case .rectifier(let given) where Float(given) != 0: slope = given
    case .rectifier, .learntRectifier, .clip, .curve: return nil
    }
    self.convolution = convolution
    self.hasResidual = hasResidual
    self.activation = activation
  }

  package var attributes: [(name: String, value: String)] {
    var list = convolution.attributes + [("act", activation.name)] + activation.printed
    if hasResidual { list.append(("residual", "true")) }
    return list
  }

  package var inputCounts: ClosedRange<Int> { hasResidual ? 4...4 : 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let outputs = try convolution.outputTypes(for: Array(inputs.prefix(3)))
    if hasResidual, inputs[3] != outputs[0] {
      throw ABNError(.shape, "residual", got: "\(inputs[3])", wanted: "\(outputs[0])")
    }
    return outputs
  }

  package var sharing: [SharingRule] {
    hasResidual ? [SharingRule(output: 0, input: 3, .may)] : []
  }
}

/// Weights and bias of the convolution that does the work of a convolution and the normalization
/// behind it: w' = w * s and bias' = bias + (b - mean) * s for each filter, where b is the
/// convolution's own bias, or 0, and s = scale / sqrt(variance + epsilon), in float64.
///
/// Inputs: w, scale, bias, mean, variance and, optionally, b.
package struct FoldNormalization: OperatorKind {
  package static let kindName = "fold_batch_norm"
  package static let formula =
    "w' = w * s, bias' = bias + (b - mean) * s, s = scale / sqrt(variance + epsilon)"

  /// Added to the variance.
  package let epsilon: Double

  /// The folding of a normalization with this epsilon.
  package init(epsilon: Double) { self.epsilon = epsilon }

  package var attributes: [(name: String, value: String)] { [("epsilon", "\(epsilon)")] }

  package var inputCounts: ClosedRange<Int> { 5...6 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard epsilon.isFinite, epsilon >= 0 else {
      throw ABNError(
        .attribute, "epsilon", got: "\(epsilon)", wanted: "a finite number of at least 0")
    }
    try requireFloatingPoint(inputs[0], "weight")
    try requireImage(inputs[0], "weight")
    let filters = TensorType([inputs[0].shape[0]], inputs[0].dtype)
    for (position, what) in ["scale", "bias", "mean", "variance", "bias of the convolution"]
      .enumerated() where position + 1 < inputs.count && inputs[position + 1] != filters
    {
      throw ABNError(.shape, what, got: "\(inputs[position + 1])", wanted: "\(filters)")
    }
    return [inputs[0], filters]
  }
}
