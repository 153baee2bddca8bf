import ABNKernelsBaseline

extension ABNKernel {
  /// Mean and biased variance of every channel.
  ///
  /// ```
  /// mean = sum(x) / m;  variance = sum((x - mean)^2) / m;  m = outer * spatial
  /// ```
  /// Accumulated around a value of the channel, so that a mean of 1e5 at a deviation of 1 keeps its
  /// digits in float32. `mean`, `variance` and the optional `meanRemainder` (what rounding took from
  /// the mean) take `channels` values. Throws `KernelError` for buffers that are misaligned or overlap, an
  /// empty tensor, or one element per channel.
  public func statistics(
    of x: UnsafeRawPointer, mean: UnsafeMutableRawPointer, variance: UnsafeMutableRawPointer,
    meanRemainder: UnsafeMutableRawPointer? = nil, scratch: UnsafeMutableRawPointer,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try checkAligned(x, element.bytes, "x")
    try checkAligned(mean, element.statisticsBytes, "mean")
    try checkAligned(variance, element.statisticsBytes, "variance")
    if let meanRemainder {
      try checkAligned(meanRemainder, element.statisticsBytes, "mean remainder")
    }
    try checkScratch(scratch)
    var regions = regions(nil, scratch)
    regions.add("x", x, bufferBytes, isWritten: false)
    add("mean", mean, "variance", variance, to: &regions, isWritten: true)
    regions.add(
      "mean remainder", meanRemainder, geometry.channels * element.statisticsBytes, isWritten: true)
    try regions.check()
    try checkTrainable()
    Engine(self, ABNParameters(scale: nil, bias: nil), nil).forward(
      .only(mean: mean, variance: variance, remainder: meanRemainder), x, nil, scratch, parallel)
  }

  /// The forward pass of training: batch statistics, moving statistics, and z (or y, for an
  /// activation that cannot be inverted) over x.
  ///
  /// `source` and `destination` are the same buffer (in place) or do not touch (x is kept).
  /// `moving` is updated if not nil. `saved` takes what the backward pass needs. `rescue` takes the
  /// x of the channels that cannot be computed back; a caller that keeps x, or makes no gradients, passes nil.
  /// Throws `KernelError` for buffers that are misaligned or overlap, an empty tensor, or one element per
  /// channel.
  public func trainForward(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    moving: ABNMovingStatistics?, saved: ABNSavedStatistics, rescue: ABNRescue? = nil,
    scratch: UnsafeMutableRawPointer, parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try checkMomentum(moving)
    try check(saved)
    try check(rescue)
    try checkScratch(scratch)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    var regions = regions(parameters, scratch)
    add(source, "source", destination, to: &regions)
    add(saved, to: &regions, isWritten: true)
    if let moving {
      add(
        "moving mean", moving.mean, "moving variance", moving.variance, to: &regions,
        isWritten: true)
    }
    try regions.check()
    try checkTrainable()
    rescue?.clear()
    Engine(self, parameters, saved, rescue).forward(
      .train(saved, moving), source, destination, scratch, parallel)
  }

  /// The forward pass with given statistics: z (or y) over x; `mean` and `variance` stay as they
  /// are. The rest as in `trainForward`; an empty tensor is left alone. With a `rescue` x is read twice, as
  /// in training: what z keeps of it depends on the data, which given statistics do not tell.
  public func globalForward(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    mean: UnsafeRawPointer, variance: UnsafeRawPointer, saved: ABNSavedStatistics,
    rescue: ABNRescue? = nil, scratch: UnsafeMutableRawPointer,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try checkAligned(mean, element.statisticsBytes, "mean")
    try checkAligned(variance, element.statisticsBytes, "variance")
    try check(saved)
    try check(rescue)
    try checkScratch(scratch)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    var regions = regions(parameters, scratch)
    add(source, "source", destination, to: &regions)
    add(saved, to: &regions, isWritten: true)
    add("mean", mean, "variance", variance, to: &regions, isWritten: false)
    try regions.check()
    rescue?.clear()
    Engine(self, parameters, saved, rescue).forward(
      .given(saved, mean: mean, variance: variance), source, destination, scratch, parallel)
  }

  /// z = act(y), element by element, for any activation; `source` holds y. In place or apart.
  ///
  /// For an activation that cannot be inverted this makes the short-lived z from the y that the
  /// forward pass left in the buffer.
  public func activate(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    scratch: UnsafeMutableRawPointer, parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try checkScratch(scratch)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    var regions = regions(parameters, scratch)
    add(source, "source", destination, to: &regions)
    try regions.check()
    let engine = Engine(self, parameters, nil)
    if activation == .prelu {
      engine.elementwise(
        ABNKernelsBaseline.Step.activate, engine.code, source, destination, scratch, parallel)
    } else {
      engine.activateFlat(source, destination, parallel)
    }
  }
}
