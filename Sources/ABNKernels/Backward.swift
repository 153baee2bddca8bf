extension ABNKernel {
  /// The backward pass from what the forward pass left: dx over dz.
  ///
  /// ```
  /// dy = dz * act'(y);  dbias = sum(dy);  dscale = sum(dy * xhat)
  /// batch: dx = scale * inverseDeviation * (dy - dbias / m - xhat * dscale / m)
  /// given: dx = scale * inverseDeviation * dy
  /// prelu: dslope = sum(dz * min(y, 0)), per channel or over all
  /// ```
  /// `output` holds z, or y for an activation that cannot be inverted; it is only read. `gradient`
  /// holds dz; `destination` is the same buffer (in place) or apart, and gets dx. `rescue` is the
  /// one the forward pass filled. Sums are exact to float64 at chunk level and in a fixed order.
  /// Throws `KernelError` for bad buffers and for a channel of scale or slope 0 without a row in
  /// the rescue buffer. An empty tensor has gradients 0.
  public func backward(
    mode: ABNStatisticsMode, output: UnsafeRawPointer, gradient: UnsafeRawPointer,
    destination: UnsafeMutableRawPointer, parameters: ABNParameters, saved: ABNSavedStatistics,
    rescue: ABNRescue = .none, gradients: ABNGradients, scratch: UnsafeMutableRawPointer,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try checkBackward(output, gradient, destination, parameters, saved, gradients, scratch)
    try check(rescue)
    try checkInvertible(parameters, rescue)
    runBackward(
      mode, output, false, gradient, destination, parameters, saved, rescue, gradients, scratch,
      parallel)
  }

  /// The backward pass of the out-of-place layer, from x: dx over dz, for any activation and any
  /// scale. `input` holds x, only read; the rest as in `backward`.
  public func backward(
    mode: ABNStatisticsMode, input: UnsafeRawPointer, gradient: UnsafeRawPointer,
    destination: UnsafeMutableRawPointer, parameters: ABNParameters, saved: ABNSavedStatistics,
    gradients: ABNGradients, scratch: UnsafeMutableRawPointer,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try checkBackward(input, gradient, destination, parameters, saved, gradients, scratch)
    runBackward(
      mode, input, true, gradient, destination, parameters, saved, .none, gradients, scratch,
      parallel)
  }

  /// Computes x back from z (or y), in place or apart. Rescued channels come back bit for bit, the
  /// others to rounding: about u * (abs(bias / scale) + abs(xhat)) standard deviations.
  /// Throws `KernelError` as `backward` does.
  public func restore(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    saved: ABNSavedStatistics, rescue: ABNRescue = .none,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try check(saved)
    try check(rescue)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    try checkInvertible(parameters, rescue)
    parallel(geometry.channels) { channel in
      let map = ChannelMap(self, parameters, saved, channel)
      let row = rescue.slot(channel) * geometry.countPerChannel
      let slope = slope(parameters, channel)
      for index in 0..<geometry.countPerChannel {
        let at = offset(channel, index)
        if row >= 0, let kept = rescue.values {
          store(destination, at, load(kept, row + index))
        } else {
          let y = inverse(load(source, at), slope)
          store(destination, at, map.x(y))
        }
      }
    }
    zeroPadding(destination)
  }

  private func checkBackward(
    _ kept: UnsafeRawPointer, _ gradient: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer,
    _ parameters: ABNParameters, _ saved: ABNSavedStatistics, _ gradients: ABNGradients,
    _ scratch: UnsafeMutableRawPointer
  ) throws(KernelError) {
    try check(parameters)
    try check(saved)
    try check(gradients)
    try checkScratch(scratch)
    try checkPair(kept, "output or input", gradient, "gradient", sameAllowed: false)
    try checkPair(kept, "output or input", destination, "destination", sameAllowed: false)
    try checkPair(gradient, "gradient", destination, "destination", sameAllowed: true)
  }

  private func runBackward(
    _ mode: ABNStatisticsMode, _ kept: UnsafeRawPointer, _ keptIsInput: Bool,
    _ gradient: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer,
    _ parameters: ABNParameters, _ saved: ABNSavedStatistics, _ rescue: ABNRescue,
    _ gradients: ABNGradients, _ scratch: UnsafeMutableRawPointer, _ parallel: KernelParallel
  ) {
    let count = geometry.countPerChannel
    let slopeSums = scratch.assumingMemoryBound(to: Double.self)
    parallel(geometry.channels) { channel in
      let map = ChannelMap(self, parameters, saved, channel)
      let row = rescue.slot(channel) * count
      let slope = slope(parameters, channel)
      let plain = inverse(
        rounded(
          activation.isInvertible ? Scalar.activate(activation, map.bias, slope) : map.bias), slope)
      // (y, xhat) of one element.
      func point(_ index: Int) -> (Double, Double) {
        if row >= 0, let values = rescue.values {
          let x = load(values, row + index)
          return (map.y(x), map.xhat(x))
        }
        let value = load(kept, offset(channel, index))
        if keptIsInput { return (map.y(value), map.xhat(value)) }
        let y = inverse(value, slope)
        // What bias itself is stored as stands for xhat 0, exactly.
        return (y, y == plain ? 0 : (y - map.bias) / map.scale)
      }
      var sum = 0.0
      var product = 0.0
      var slopeSum = 0.0
      for index in 0..<count {
        let (y, xhat) = point(index)
        let dz = load(gradient, offset(channel, index))
        let dy = dz * Scalar.derivative(activation, y, slope)
        sum += dy
        product += dy * xhat
        if y <= 0 { slopeSum += dz * y }
      }
      setStatistic(gradients.scale, channel, product)
      setStatistic(gradients.bias, channel, sum)
      slopeSums[channel] = slopeSum
      let factor = map.scale * map.inverse
      let meanSum = mode == .batch ? sum / Double(count) : 0
      let meanProduct = mode == .batch ? product / Double(count) : 0
      for index in 0..<count {
        let (y, xhat) = point(index)
        let at = offset(channel, index)
        let dy = load(gradient, at) * Scalar.derivative(activation, y, slope)
        let correction = mode == .batch ? meanSum + xhat * meanProduct : 0
        store(destination, at, factor == 0 ? 0 : factor * (dy - correction))
      }
    }
    zeroPadding(destination)
    guard activation == .prelu, gradients.slopes != nil else { return }
    if parameters.slopeCount == 1 {
      var total = 0.0
      for channel in 0..<geometry.channels { total += slopeSums[channel] }
      setStatistic(gradients.slopes, 0, total)
    } else {
      for channel in 0..<geometry.channels {
        setStatistic(gradients.slopes, channel, slopeSums[channel])
      }
    }
  }

  private func inverse(_ value: Double, _ slope: Double) -> Double {
    guard activation.isInvertible else { return value }
    return Scalar.inverse(activation, value, slope, element)
  }
}
