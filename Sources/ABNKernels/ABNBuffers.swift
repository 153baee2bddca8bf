/// Scale, bias and slopes: float32, or float64 for float64 elements (`ABNElement.statistics`).
public struct ABNParameters {
  /// `channels` values, or nil for all 1.
  public var scale: UnsafeRawPointer?
  /// `channels` values, or nil for all 0.
  public var bias: UnsafeRawPointer?
  /// Slopes of prelu: `slopeCount` values; nil for every other activation.
  public var slopes: UnsafeRawPointer?
  /// 1 or `channels` for prelu, else 0.
  public var slopeCount: Int

  /// Collects the pointers.
  public init(
    scale: UnsafeRawPointer?, bias: UnsafeRawPointer?, slopes: UnsafeRawPointer? = nil,
    slopeCount: Int = 0
  ) {
    self.scale = scale
    self.bias = bias
    self.slopes = slopes
    self.slopeCount = slopeCount
  }
}

/// The moving statistics, `channels` values each, updated by the forward pass of training:
/// moving = moving * momentum + batch * (1 - momentum), with the biased variance.
public struct ABNMovingStatistics {
  /// Moving mean.
  public var mean: UnsafeMutableRawPointer
  /// Moving variance.
  public var variance: UnsafeMutableRawPointer
  /// How much of the old value stays; 0 ... 1.
  public var momentum: Double

  /// Collects the pointers.
  public init(mean: UnsafeMutableRawPointer, variance: UnsafeMutableRawPointer, momentum: Double) {
    self.mean = mean
    self.variance = variance
    self.momentum = momentum
  }
}

/// What the forward pass leaves for the backward pass, `channels` values each, of type
/// `ABNElement.statistics`. Written by both forward passes, read by backward and restore.
public struct ABNSavedStatistics {
  /// The mean, rounded.
  public var mean: UnsafeMutableRawPointer
  /// What the rounding took from the mean: mean + remainder is the mean to twice the digits, which
  /// x of mean 1e5 and standard deviation 1 needs in float32. Zero with given statistics.
  public var meanRemainder: UnsafeMutableRawPointer
  /// 1 / sqrt(variance + epsilon).
  public var inverseDeviation: UnsafeMutableRawPointer

  /// Collects the pointers.
  public init(
    mean: UnsafeMutableRawPointer, meanRemainder: UnsafeMutableRawPointer,
    inverseDeviation: UnsafeMutableRawPointer
  ) {
    self.mean = mean
    self.meanRemainder = meanRemainder
    self.inverseDeviation = inverseDeviation
  }
}

/// Where backward writes the gradients of the parameters (overwritten, not added to).
public struct ABNGradients {
  /// `channels` values, or nil if not wanted.
  public var scale: UnsafeMutableRawPointer?
  /// `channels` values, or nil if not wanted.
  public var bias: UnsafeMutableRawPointer?
  /// `ABNParameters.slopeCount` values, or nil if not wanted or not prelu.
  public var slopes: UnsafeMutableRawPointer?

  /// Collects the pointers.
  public init(
    scale: UnsafeMutableRawPointer?, bias: UnsafeMutableRawPointer?,
    slopes: UnsafeMutableRawPointer? = nil
  ) {
    self.scale = scale
    self.bias = bias
    self.slopes = slopes
  }
}

/// What a layer holds between its passes.
public struct ABNLayerState {
  /// Scale, bias and slopes; only read.
  public var parameters: ABNParameters
  /// What the forward passes write, and the way back reads.
  public var saved: ABNSavedStatistics
  /// Takes the x that z does not tell. nil for a caller that keeps x, or makes no gradients.
  public var rescue: ABNRescue?

  /// Collects the three.
  public init(parameters: ABNParameters, saved: ABNSavedStatistics, rescue: ABNRescue? = nil) {
    self.parameters = parameters
    self.saved = saved
    self.rescue = rescue
  }
}

/// Where statistics go, `channels` values each, of type `ABNElement.statistics`.
public struct ABNStatistics {
  /// The mean, rounded.
  public var mean: UnsafeMutableRawPointer
  /// The biased variance.
  public var variance: UnsafeMutableRawPointer
  /// What the rounding took from the mean, or nil if not wanted.
  public var meanRemainder: UnsafeMutableRawPointer?

  /// Collects the pointers.
  public init(
    mean: UnsafeMutableRawPointer, variance: UnsafeMutableRawPointer,
    meanRemainder: UnsafeMutableRawPointer? = nil
  ) {
    self.mean = mean
    self.variance = variance
    self.meanRemainder = meanRemainder
  }
}

/// What a forward pass makes beside its own result y, in the same step: act(y), of any activation.
public struct ABNActivated {
  /// The activation.
  public var activation: ABNActivation
  /// Gets act(y): a tensor apart from all others.
  public var destination: UnsafeMutableRawPointer

  /// Collects the two.
  public init(_ activation: ABNActivation, to destination: UnsafeMutableRawPointer) {
    self.activation = activation
    self.destination = destination
  }
}

/// Statistics that are given, `channels` values each; only read.
public struct ABNGivenStatistics {
  /// The mean.
  public var mean: UnsafeRawPointer
  /// The variance.
  public var variance: UnsafeRawPointer

  /// Collects the pointers.
  public init(mean: UnsafeRawPointer, variance: UnsafeRawPointer) {
    self.mean = mean
    self.variance = variance
  }
}

/// Which statistics the forward pass used, which decides the gradient.
public enum ABNStatisticsMode: Hashable, Sendable {
  /// Those of the batch: they depend on x, so dx has the two correction terms.
  case batch
  /// Given ones (moving statistics): dx = scale * inverseDeviation * dy.
  case given
}

/// The tensor that a backward pass starts from; only read.
public enum ABNKept {
  /// What the forward pass left: z, or y for an activation that cannot be inverted.
  case output(UnsafeRawPointer)
  /// x, of a layer that keeps it: for any activation and any scale, without a rescue.
  case input(UnsafeRawPointer)
}

/// The tensors of a backward pass, and where the gradients of the parameters go.
public struct ABNBackward {
  /// Which statistics the forward pass used.
  public var mode: ABNStatisticsMode
  /// What there is of the forward pass.
  public var kept: ABNKept
  /// dz.
  public var gradient: UnsafeRawPointer
  /// Gets dx: the buffer of dz (in place), or one apart.
  public var destination: UnsafeMutableRawPointer
  /// Get the gradients of scale, bias and slopes.
  public var gradients: ABNGradients
  /// An activation that was applied to the output apart, if any: `gradient` is then that of its
  /// result, and what the layer gets is that times the activation's derivative at the output, taken
  /// on the same way over memory.
  public var behind: ABNActivation?

  /// Collects them.
  public init(
    mode: ABNStatisticsMode, kept: ABNKept, gradient: UnsafeRawPointer,
    destination: UnsafeMutableRawPointer, gradients: ABNGradients, behind: ABNActivation? = nil
  ) {
    self.behind = behind
    self.mode = mode
    self.kept = kept
    self.gradient = gradient
    self.destination = destination
    self.gradients = gradients
  }
}
