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
  /// one that the forward pass was given. Chunks of at most 64 vectors (128 of 16 bits, and as many
  /// ends of runs) are summed in the precision of parameters, what they give in float64, in a fixed order.
  /// Throws `KernelError` for buffers that are misaligned or overlap, and for a channel of scale 0, or of a
  /// slope that is not above 0, without a row in `rescue`. An empty tensor has gradients 0.
  public func backward(
    mode: ABNStatisticsMode, output: UnsafeRawPointer, gradient: UnsafeRawPointer,
    destination: UnsafeMutableRawPointer, parameters: ABNParameters, saved: ABNSavedStatistics,
    rescue: ABNRescue? = nil, gradients: ABNGradients, scratch: UnsafeMutableRawPointer,
    parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(rescue)
    try checkBackward(
      output, gradient, destination, parameters, saved, gradients, scratch)
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
    try checkBackward(
      input, gradient, destination, parameters, saved, gradients, scratch)
    runBackward(
      mode, input, true, gradient, destination, parameters, saved, nil, gradients, scratch,
      parallel)
  }

  /// Computes x back from z (or y), in place or apart. Rescued channels come back bit for bit, the
  /// others to rounding: about u * (abs(bias / scale) + abs(xhat)) standard deviations.
  /// Throws `KernelError` as `backward` does.
  public func restore(
    source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, parameters: ABNParameters,
    saved: ABNSavedStatistics, rescue: ABNRescue? = nil,
    scratch: UnsafeMutableRawPointer, parallel: KernelParallel = serialParallel
  ) throws(KernelError) {
    try check(parameters)
    try check(saved)
    try check(rescue)
    try checkScratch(scratch)
    try checkPair(source, "source", destination, "destination", sameAllowed: true)
    var regions = regions(parameters, scratch)
    add(source, "source", destination, to: &regions)
    add(saved, to: &regions, isWritten: false)
    try regions.check()
    try checkInvertible(parameters, rescue)
    Engine(self, parameters, saved, rescue).restore(source, destination, scratch, parallel)
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
    var regions = regions(parameters, scratch)
    regions.add("output or input", kept, bufferBytes, isWritten: false)
    add(gradient, "gradient", destination, to: &regions)
    add(saved, to: &regions, isWritten: false)
    add(gradients, parameters, to: &regions)
    try regions.check()
  }

  private func runBackward(
    _ mode: ABNStatisticsMode, _ kept: UnsafeRawPointer, _ keptIsInput: Bool,
    _ gradient: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer,
    _ parameters: ABNParameters, _ saved: ABNSavedStatistics, _ rescue: ABNRescue?,
    _ gradients: ABNGradients, _ scratch: UnsafeMutableRawPointer, _ parallel: KernelParallel
  ) {
    Engine(self, parameters, saved, rescue).backward(
      BackwardCall(
        mode: mode, kept: kept, keptIsInput: keptIsInput, gradient: gradient,
        destination: destination, gradients: gradients),
      scratch, parallel)
  }
}
