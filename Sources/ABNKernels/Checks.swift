/// What every entry point refuses before it touches a buffer.
extension ABNKernel {
  func check(_ parameters: ABNParameters) throws(KernelError) {
    if activation == .prelu {
      guard parameters.slopes != nil else {
        throw KernelError(
          what: "prelu slopes", got: "nil", wanted: "a pointer to 1 or \(geometry.channels) slopes",
          fix: "Set ABNParameters.slopes.")
      }
      guard parameters.slopeCount == 1 || parameters.slopeCount == geometry.channels else {
        throw KernelError(
          what: "prelu slope count", got: "\(parameters.slopeCount)",
          wanted: "1 or \(geometry.channels)", fix: "Pass one slope, or one per channel.")
      }
    }
    let bytes = element.statisticsBytes
    if let scale = parameters.scale { try checkAligned(scale, bytes, "scale") }
    if let bias = parameters.bias { try checkAligned(bias, bytes, "bias") }
    if let slopes = parameters.slopes { try checkAligned(slopes, bytes, "slopes") }
  }

  func checkMomentum(_ moving: ABNMovingStatistics?) throws(KernelError) {
    guard let moving else { return }
    try checkAligned(moving.mean, element.statisticsBytes, "moving mean")
    try checkAligned(moving.variance, element.statisticsBytes, "moving variance")
    guard moving.momentum >= 0, moving.momentum <= 1 else {
      throw KernelError(
        what: "momentum", got: "\(moving.momentum)", wanted: "0 ... 1", fix: "Use 0.9.")
    }
  }

  func check(_ saved: ABNSavedStatistics) throws(KernelError) {
    try checkAligned(saved.mean, element.statisticsBytes, "saved mean")
    try checkAligned(saved.meanRemainder, element.statisticsBytes, "saved mean remainder")
    try checkAligned(saved.inverseDeviation, element.statisticsBytes, "saved inverse deviation")
  }

  func check(_ gradients: ABNGradients) throws(KernelError) {
    let bytes = element.statisticsBytes
    if let scale = gradients.scale { try checkAligned(scale, bytes, "scale gradient") }
    if let bias = gradients.bias { try checkAligned(bias, bytes, "bias gradient") }
    if let slopes = gradients.slopes { try checkAligned(slopes, bytes, "slopes gradient") }
  }

  func check(_ rescue: ABNRescue?) throws(KernelError) {
    guard let rescue else { return }
    guard rescue.geometry == geometry, rescue.element == element else {
      throw KernelError(
        what: "rescue", got: "that of a tensor of \(rescue.element), \(rescue.geometry)",
        wanted: "\(element), \(geometry)",
        fix: "Make it with ABNRescue(kernel), one for each tensor.")
    }
  }

  func checkScratch(_ scratch: UnsafeMutableRawPointer) throws(KernelError) {
    try checkAligned(scratch, 64, "scratch")
  }

  func checkAligned(
    _ pointer: UnsafeRawPointer, _ bytes: Int, _ name: String
  ) throws(KernelError) {
    guard UInt(bitPattern: pointer) % UInt(bytes) == 0 else {
      throw KernelError(
        what: name,
        got: "an address that is \(UInt(bitPattern: pointer) % UInt(bytes)) mod \(bytes)",
        wanted: "a multiple of \(bytes)", fix: "Align the buffer to its element.")
    }
  }

  /// Two whole tensors: the same buffer where `sameAllowed`, else apart.
  func checkPair(
    _ a: UnsafeRawPointer, _ aName: String, _ b: UnsafeRawPointer, _ bName: String,
    sameAllowed: Bool
  ) throws(KernelError) {
    try checkAligned(a, element.bytes, aName)
    try checkAligned(b, element.bytes, bName)
    if a == b && (sameAllowed || bufferBytes == 0) { return }
    let first = min(UInt(bitPattern: a), UInt(bitPattern: b))
    let second = max(UInt(bitPattern: a), UInt(bitPattern: b))
    guard second - first >= UInt(bufferBytes) else {
      throw KernelError(
        what: "\(aName) and \(bName)", got: "buffers that overlap, \(second - first) bytes apart",
        wanted: sameAllowed
          ? "the same buffer, or \(bufferBytes) bytes apart" : "\(bufferBytes) bytes apart or more",
        fix: "Pass separate buffers.")
    }
  }

  func checkTrainable() throws(KernelError) {
    guard geometry.countPerChannel != 1 || geometry.channels == 0 else {
      throw KernelError(
        what: "batch statistics", got: "one element per channel",
        wanted: "two or more, as the variance of one value is 0",
        fix: "Use a larger batch, or given statistics (globalForward).")
    }
    guard geometry.countPerChannel != 0 || geometry.channels == 0 else {
      throw KernelError(
        what: "batch statistics", got: "an empty tensor",
        wanted: "two or more elements per channel",
        fix: "Skip the layer for an empty batch.")
    }
  }

  /// Scale 0 cannot be divided by, and the sign of z does not tell that of y under a slope below 0: such a
  /// channel needs its row in the rescue buffer.
  func checkInvertible(
    _ parameters: ABNParameters, _ rescue: ABNRescue?
  ) throws(KernelError) {
    if rescue?.count ?? 0 == 0, activation != .prelu, allNonzero(parameters.scale),
      !activation.isInvertible || slope(parameters, 0) > 0
    {
      return
    }
    for channel in 0..<geometry.channels where rescue?.rows[channel] == nil {
      let scale = statistic(parameters.scale, channel, default: 1)
      let slope = activation.isInvertible ? slope(parameters, channel) : 1
      guard scale != 0, !(slope <= 0) else {
        throw KernelError(
          what: "channel \(channel)", got: scale == 0 ? "scale 0" : "slope \(slope)",
          wanted: "a row in the rescue, as it cannot be inverted",
          fix: "Pass the same ABNRescue to the forward pass and to this one.")
      }
    }
  }
}

extension ABNKernel {
  /// Whether no value of an array of parameters is 0: a loop without a choice, as thousands of small
  /// channels feel it.
  private func allNonzero(_ base: UnsafeRawPointer?) -> Bool {
    guard let base else { return true }
    var zeros = 0
    var channel = 0
    if element.statistics == .float64 {
      while channel < geometry.channels {
        zeros |= base.load(fromByteOffset: channel &* 8, as: Double.self) == 0 ? 1 : 0
        channel &+= 1
      }
    } else {
      while channel < geometry.channels {
        zeros |= base.load(fromByteOffset: channel &* 4, as: Float.self) == 0 ? 1 : 0
        channel &+= 1
      }
    }
    return zeros == 0
  }
}
