// Shapes: x, y, z [N, C, ...] (or [N, ..., C]), rank 2...5; scale, bias, mean, variance [C];
// saved [3, C]: mean, what rounding took from it, 1 / sqrt(variance + epsilon). m = N * spatial.

import ABNGraph
import ABNTensors

/// What batch normalization and its in-place form have in common.
package struct NormalizationAttributes: Sendable, Hashable {
  /// How much of the old moving statistics stays in a training run; unused with a momentum
  /// variable.
  package var momentum: Double
  /// Whether momentum is the operator's last input, of shape [1] and type float32. A value outside
  /// 0...1 makes the moving statistics NaN, so that the mistake shows.
  package var hasMomentumInput: Bool
  /// Added to the variance.
  package var epsilon: Double
  /// Where the channels stand.
  package var layout: DataLayout
  /// Evaluation: moving statistics, nothing kept for a gradient.
  package var isTest: Bool
  /// Moving statistics in training too.
  package var useGlobalStats: Bool

  /// Checks momentum and epsilon.
  package init(
    momentum: Double = 0.9, hasMomentumInput: Bool = false, epsilon: Double = 1e-5,
    layout: DataLayout = .nchw, isTest: Bool = false, useGlobalStats: Bool = false
  ) throws {
    self.momentum = momentum
    self.hasMomentumInput = hasMomentumInput
    self.epsilon = epsilon
    self.layout = layout
    self.isTest = isTest
    self.useGlobalStats = useGlobalStats
    try validate()
  }

  /// Checks momentum and epsilon, which may have been set since.
  func validate() throws {
    guard hasMomentumInput || (0...1).contains(momentum) else {
      throw ABNError(.attribute, "momentum", got: "\(momentum)", wanted: "a number in 0...1")
    }
    guard epsilon.isFinite, epsilon >= 0 else {
      throw ABNError(
        .attribute, "epsilon", got: "\(epsilon)", wanted: "a finite number of at least 0")
    }
  }

  /// Whether the statistics are those of the batch.
  package var usesBatchStatistics: Bool { !isTest && !useGlobalStats }

  var printed: [(name: String, value: String)] {
    var list = [("epsilon", "\(epsilon)"), ("layout", layout.rawValue)]
    if usesBatchStatistics && !hasMomentumInput { list.insert(("momentum", "\(momentum)"), at: 0) }
    if isTest { list.append(("is_test", "true")) }
    if useGlobalStats { list.append(("use_global_stats", "true")) }
    return list
  }

  /// Outputs: the normalized tensor; in training the saved statistics; with batch statistics the
  /// moving mean and variance, updated.
  func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try validate()
    let x = inputs[0]
    try requireFloatingPoint(x, "input")
    try requireRank(x, 2...5, "input")
    let axis = layout.channelAxis(rank: x.shape.rank)
    let channels = x.shape[axis]
    guard channels >= 0 else {
      throw ABNError(
        .shape, "input", got: "\(x.shape), whose channels are unknown",
        wanted: "a known dimension at axis \(axis)", fix: "Give the channel dimension in data().")
    }
    guard !x.shape.dimensions.contains(0) else {
      throw ABNError(
        .shape, "input", got: "\(x.shape)", wanted: "dimensions of at least 1",
        fix: "Feed at least one sample.")
    }
    let parameter = TensorType([channels], x.dtype.accumulation)
    for (position, what) in [(1, "scale"), (2, "bias"), (3, "moving mean"), (4, "moving variance")]
    where inputs[position] != parameter {
      throw ABNError(
        .shape, "input has \(channels) channels, \(what)", got: "\(inputs[position])",
        wanted: "\(parameter)", fix: "Pass a \(what) of shape [\(channels)].")
    }
    if hasMomentumInput, inputs.last! != TensorType([1], .float32) {
      throw ABNError(
        .shape, "momentum", got: "\(inputs.last!)", wanted: "float32[1]",
        fix: "Make it with data of shape [1], or with Schedule.variable.")
    }
    if usesBatchStatistics, x.shape.isKnown, x.shape.elementCount == channels {
      throw ABNError(
        .shape, "input", got: "\(x.shape): one element per channel",
        wanted: "at least two to normalize over while training",
        fix: "Use a larger batch, or useGlobalStats.")
    }
    if isTest { return [x] }
    let saved = TensorType([3, channels], x.dtype.accumulation)
    return usesBatchStatistics ? [x, saved, parameter, parameter] : [x, saved]
  }

  /// The moving statistics are updated where batch statistics are used.
  var updates: [SharingRule] {
    usesBatchStatistics
      ? [SharingRule(output: 2, input: 3, .must), SharingRule(output: 3, input: 4, .must)] : []
  }

  var forTest: NormalizationAttributes {
    var copy = self
    copy.isTest = true
    copy.hasMomentumInput = false
    return copy
  }

  /// What a gradient, or an inverse, reads beside an image.
  func requireSaved(image: TensorType, scale: TensorType, bias: TensorType, saved: TensorType)
    throws
  {
    try requireTraining("normalization")
    try requireFloatingPoint(image, "image")
    try requireRank(image, 2...5, "image")
    let channels = image.shape[layout.channelAxis(rank: image.shape.rank)]
    let parameter = TensorType([channels], image.dtype.accumulation)
    try requireType(scale, parameter, "scale")
    try requireType(bias, parameter, "bias")
    try requireType(saved, TensorType([3, channels], parameter.dtype), "saved statistics")
  }

  func requireTraining(_ kind: String) throws {
    guard !isTest else {
      throw ABNError(
        .program, "\(kind) with isTest", got: "a gradient through it",
        wanted: "no gradient in a program for evaluation",
        fix: "Use useGlobalStats to train with the moving statistics.")
    }
  }
}

/// y = scale * (x - mean) / sqrt(variance + epsilon) + bias, out of place: x stays.
///
/// Inputs: x, scale, bias, moving mean, moving variance and, if asked for, momentum.
package struct BatchNorm: OperatorKind {
  package static let kindName = "batch_norm"
  package static let formula = "y = scale * (x - mean) / sqrt(variance + epsilon) + bias"

  /// Momentum, epsilon, layout and mode.
  package let norm: NormalizationAttributes

  /// A batch normalization.
  package init(_ norm: NormalizationAttributes) { self.norm = norm }

  package var attributes: [(name: String, value: String)] { norm.printed }
  package var inputCounts: ClosedRange<Int> { norm.hasMomentumInput ? 6...6 : 5...5 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try norm.inferTypes(inputs)
  }
  package var sharing: [SharingRule] { norm.updates }
  package func forTest() -> (any OperatorKind)? { BatchNorm(norm.forTest) }
  package var inputCountForTest: Int? { 5 }

  package func gradients(_ c: inout GradientContext) throws -> [Variable?] {
    try norm.requireTraining("batch_norm")
    guard let dy = c.outputGradients[0] else { return c.inputs.map { _ in nil } }
    let made = try c.append(
      BatchNormGradient(of: self), [c.inputs[0], dy, c.inputs[1], c.inputs[2], c.outputs[1]])
    return [made[0], made[1], made[2]] + c.inputs.dropFirst(3).map { _ in nil }
  }
}

/// dx, dscale and dbias from x: dx = scale * inv * (dy - dbias / m - xhat * dscale / m), without
/// the last two terms for moving statistics. Inputs: x, dy, scale, bias, saved.
package struct BatchNormGradient: OperatorKind {
  package static let kindName = "batch_norm_grad"
  package static let formula = "dx = scale * inv * (dy - dbias / m - xhat * dscale / m)"

  /// The operator whose gradient this is.
  package let forward: BatchNorm
  /// The gradient of `forward`.
  package init(of forward: BatchNorm) { self.forward = forward }

  package var attributes: [(name: String, value: String)] { forward.attributes }
  package var inputCounts: ClosedRange<Int> { 5...5 }
  package func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try forward.norm.requireSaved(
      image: inputs[0], scale: inputs[2], bias: inputs[3], saved: inputs[4])
    try requireType(inputs[1], inputs[0], "dy")
    return [inputs[1], inputs[2], inputs[3]]
  }
  package var sharing: [SharingRule] { [SharingRule(output: 0, input: 1, .may)] }
  /// x restored is off by the rounding of x itself.
  package var toleratesRestored: Set<Int> { [0] }
}
