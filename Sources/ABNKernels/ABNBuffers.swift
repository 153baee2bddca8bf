/// Runs `body(0) ... body(parts - 1)`, each once, in any order and on any threads, and returns when
/// all are done. Results do not depend on how it does that, bit by bit.
public typealias KernelParallel = (_ parts: Int, _ body: (Int) -> Void) -> Void

/// Runs the parts one after the other on the calling thread.
public func serialParallel(_ parts: Int, _ body: (Int) -> Void) {
  for part in 0..<parts { body(part) }
}

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

/// Which statistics the forward pass used, which decides the gradient.
public enum ABNStatisticsMode: Hashable, Sendable {
  /// Those of the batch: they depend on x, so dx has the two correction terms.
  case batch
  /// Given ones (moving statistics): dx = scale * inverseDeviation * dy.
  case given
}
