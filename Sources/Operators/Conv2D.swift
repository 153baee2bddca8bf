// Shapes: x [N, C, H, W] (or [N, H, W, C]); w [O, C / groups, kh, kw] in both layouts; bias [O];
// y [N, O, H', W'] (or [N, H', W', O]).

import ABNGraph
import ABNTensors

/// y[n, o, i, j] = bias[o] + sum over c, u, v of
/// x[n, c, i * stride + u * dilation - before, j * ...] * w[o, c, u, v].
///
/// A cross-correlation, as everywhere in this field. Inputs: x, w and, optionally, bias.
package struct Conv2D: OperatorKind {
  package static let kindName = "conv2d"
  package static let formula = "y = bias + sum over window and channels of x * w"

  /// Stride, dilation and padding; the kernel is w's.
  package let window: Window2D
  /// Channels are split into this many groups that do not see each other.
  package let groups: Int
  /// Where the channels of x and y stand.
  package let layout: DataLayout

  /// A convolution.
  package init(window: Window2D, groups: Int = 1, layout: DataLayout = .nchw) throws {
    try window.validate()
    guard (1...largestWindowSize).contains(groups) else {
      throw ABNError(
        .attribute, "groups", got: "\(groups)", wanted: "1...\(largestWindowSize)")
    }
    self.window = window
    self.groups = groups
    self.layout = layout
  }

  package var attributes: [(name: String, value: String)] {
    [
      ("stride", "\(window.stride)"), ("padding", "\(window.padding)"),
      ("dilation", "\(window.dilation)"), ("groups", "\(groups)"), ("layout", layout.rawValue),
    ]
  }

  /// The spatial axes of x and y.
  package var spatialAxes: [Int] { layout == .nchw ? [2, 3] : [1, 2] }

  package var inputCounts: ClosedRange<Int> { 2...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let (x, w) = (inputs[0], inputs[1])
    try requireFloatingPoint(x, "input")
    try requireSameDType(x, w, "input and weight")
    try requireImage(x, "input")
    try requireImage(w, "weight")
    try requirePixels(x, spatialAxes)
    let channelAxis = layout.channelAxis(rank: 4)
    let channels = x.shape[channelAxis]
    guard w.shape[0] % groups == 0, channels < 0 || channels == w.shape[1] * groups else {
      throw ABNError(
        .shape, "input and weight",
        got: "\(channels) channels, weight \(w.shape), \(groups) groups",
        wanted: "\(w.shape[1] * groups) channels, and filters in whole groups")
    }
    if inputs.count > 2 { try requireType(inputs[2], TensorType([w.shape[0]], x.dtype), "bias") }
    var shape = x.shape
    shape[channelAxis] = w.shape[0]
    for (axis, position) in spatialAxes.enumerated() {
      shape[position] = try window.outputSize(axis, input: x.shape[position])
    }
    let y = TensorType(shape, x.dtype)
    try requireImage(y, "output")
    return [y]
  }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    guard let dy = c.outputGradients[0] else { return c.inputs.map { _ in nil } }
    var results: [Variable?] = c.inputs.map { _ in nil }
    let hasBias = c.inputs.count > 2 && c.needsGradient[2]
    if c.needsGradient[1] || hasBias {
      let made = try c.append(
        Conv2DWeightGradient(of: self, hasBias: hasBias),
        [c.inputs[0], dy, c.inputs[1]] + (hasBias ? [c.inputs[2]] : []))
      results[1] = made[0]
      if hasBias { results[2] = made[1] }
    }
    if c.needsGradient[0] {
      results[0] = try c.append(Conv2DDataGradient(of: self), c.inputs[1], dy, c.inputs[0])
    }
    return results
  }
}

/// dx = the transposed convolution of dy with w. Inputs: w, dy, and x for its shape only.
package struct Conv2DDataGradient: OperatorKind {
  package static let kindName = "conv2d_data_grad"
  package static let formula = "dx = transposed convolution of dy with w"

  /// The convolution whose gradient this is.
  package let forward: Conv2D

  /// The gradient of `forward` for its input.
  package init(of forward: Conv2D) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireType(inputs[1], forward.outputTypes(for: [inputs[2], inputs[0]])[0], "dy")
    return [inputs[2]]
  }
  package var readsTypeOnly: Set<Int> { [2] }
}

/// dw = the correlation of x with dy; dbias = dy summed over all but the channels. Inputs: x, dy,
/// w for its shape only and, with bias, bias for its shape only.
package struct Conv2DWeightGradient: OperatorKind {
  package static let kindName = "conv2d_weight_grad"
  package static let formula = "dw = correlation of x with dy; dbias = sum of dy"

  /// The convolution whose gradient this is.
  package let forward: Conv2D
  /// Whether the bias's gradient is a second output.
  package let hasBias: Bool

  /// The gradient of `forward` for its parameters.
  package init(of forward: Conv2D, hasBias: Bool) {
    self.forward = forward
    self.hasBias = hasBias
  }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { hasBias ? 4...4 : 3...3 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let parameters = Array(inputs[2...])
    try requireType(inputs[1], forward.outputTypes(for: [inputs[0]] + parameters)[0], "dy")
    return parameters
  }
  package var toleratesRestored: Set<Int> { [0] }
  package var readsTypeOnly: Set<Int> { [2, 3] }
}
