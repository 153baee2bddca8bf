extension ABNKernel {
  /// Mean and biased variance of every channel.
  ///
  /// ```
  /// mean = sum(x) / m;  variance = sum((x - mean)^2) / m;  m = outer * spatial
  /// ```
  /// Accumulated around a value of the channel, so that a mean of 1e5 at a deviation of 1 keeps its
  /// digits in float32. `mean`, `variance` and the optional `meanRemainder` (what rounding took from
  /// the mean) take `channels` values. Throws `KernelError` for misaligned buffers, an empty tensor,
  /// or one element per channel.
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
    try checkTrainable()
    parallel(geometry.channels) { channel in
      let (sum, spread) = channelStatistics(x, channel)
      setStatistic(mean, channel, sum)
      setStatistic(variance, channel, spread)
      setStatistic(meanRemainder, channel, sum - statistic(mean, channel, default: 0))
    }
  }

  /// The forward pass of training: batch statistics, moving statistics, and z (or y, for an
  /// activation that cannot be inverted) over x.
  ///
  /// `source` and `destination` are the same buffer (in place) or do not touch (x is kept).
  /// `moving` is updated if not nil. `saved` takes what the backward pass needs. `rescue` takes the
  /// x of the channels that `rescuePlan` chose; a caller that keeps x passes `.none`.
  /// Throws `KernelError` for bad buffers, an empty tensor, or one element per channel.
  public func trainForward(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    moving: ABNMovingStatistics?, saved: ABNSavedStatistics, rescue: ABNRescue = .none,
    scratch: UnsafeMutableRawPointer, parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try checkMomentum(moving)
    try check(saved)
    try check(rescue)
    try checkScratch(scratch)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    try checkTrainable()
    parallel(geometry.channels) { channel in
      let (mean, variance) = channelStatistics(source, channel)
      let inverse = 1 / (variance + epsilon).squareRoot()
      setStatistic(saved.mean, channel, mean)
      setStatistic(
        saved.meanRemainder, channel, mean - statistic(saved.mean, channel, default: 0))
      setStatistic(saved.inverseDeviation, channel, inverse)
      if let moving {
        let keep = moving.momentum
        let oldMean = statistic(moving.mean, channel, default: 0)
        let oldVariance = statistic(moving.variance, channel, default: 0)
        setStatistic(moving.mean, channel, oldMean * keep + mean * (1 - keep))
        setStatistic(moving.variance, channel, oldVariance * keep + variance * (1 - keep))
      }
      normalize(source, destination, parameters, saved, rescue, channel)
    }
    zeroPadding(destination)
  }

  /// The forward pass with given statistics: z (or y) over x; `mean` and `variance` stay as they
  /// are. The rest as in `trainForward`; an empty tensor is left alone.
  public func globalForward(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    mean: UnsafeRawPointer, variance: UnsafeRawPointer, saved: ABNSavedStatistics,
    rescue: ABNRescue = .none, scratch: UnsafeMutableRawPointer,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try checkAligned(mean, element.statisticsBytes, "mean")
    try checkAligned(variance, element.statisticsBytes, "variance")
    try check(saved)
    try check(rescue)
    try checkScratch(scratch)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    parallel(geometry.channels) { channel in
      let spread = statistic(variance, channel, default: 1)
      setStatistic(saved.mean, channel, statistic(mean, channel, default: 0))
      setStatistic(saved.meanRemainder, channel, 0)
      setStatistic(saved.inverseDeviation, channel, 1 / (spread + epsilon).squareRoot())
      normalize(source, destination, parameters, saved, rescue, channel)
    }
    zeroPadding(destination)
  }

  /// z = act(y), element by element, for any activation; `source` holds y. In place or apart.
  ///
  /// For an activation that cannot be inverted this makes the short-lived z from the y that the
  /// forward pass left in the buffer.
  public func activate(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    parallel(geometry.channels) { channel in
      let slope = slope(parameters, channel)
      for index in 0..<geometry.countPerChannel {
        let at = offset(channel, index)
        store(destination, at, Scalar.activate(activation, load(source, at), slope))
      }
    }
    zeroPadding(destination)
  }

  private func normalize(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer,
    _ parameters: ABNParameters, _ saved: ABNSavedStatistics, _ rescue: ABNRescue, _ channel: Int
  ) {
    let map = ChannelMap(self, parameters, saved, channel)
    let row = rescue.slot(channel) * geometry.countPerChannel
    let slope = slope(parameters, channel)
    for index in 0..<geometry.countPerChannel {
      let at = offset(channel, index)
      let x = load(source, at)
      if row >= 0, let kept = rescue.values { store(kept, row + index, x) }
      let y = map.y(x)
      store(
        destination, at, activation.isInvertible ? Scalar.activate(activation, y, slope) : y)
    }
  }
}
