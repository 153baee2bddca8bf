/// The buffers of one call: each aligned, and what is written nobody else's. A value on the stack:
/// the kernels allocate nothing.
struct CallBuffers {
  private struct Region {
    var name: StaticString = ""
    var first: UInt = 0
    var bytes: UInt = 0
    var isAlone = false

    var end: UInt { first &+ bytes }
  }

  private let kernel: ABNKernel
  /// At most: kept tensor, dz and dx, scale, bias, slopes, mean and variance, three saved
  /// statistics, three gradients or two moving statistics, scratch.
  private var regions = InlineArray<14, Region>(repeating: Region())
  private var count = 0

  init(_ kernel: ABNKernel) { self.kernel = kernel }

  private mutating func add(_ region: Region, alignment: Int) throws(KernelError) {
    let rest = region.first % UInt(alignment)
    guard rest == 0 else {
      throw KernelError(
        what: "\(region.name)", got: "an address that is \(rest) mod \(alignment)",
        wanted: "a multiple of \(alignment)", fix: "Align the buffer to its element.")
    }
    if region.bytes == 0 { return }
    regions[count] = region
    count += 1
  }

  /// A whole tensor that is only read.
  mutating func tensor(
    _ name: StaticString, _ base: UnsafeRawPointer, isAlone: Bool = false
  ) throws(KernelError) {
    let region = Region(
      name: name, first: UInt(bitPattern: base), bytes: UInt(kernel.bufferBytes), isAlone: isAlone)
    try add(region, alignment: kernel.element.bytes)
  }

  /// A tensor that is read and one that is written: the same, or apart.
  mutating func pair(
    _ source: UnsafeRawPointer, _ destination: UnsafeRawPointer, isGradient: Bool = false
  ) throws(KernelError) {
    if source == destination {
      try tensor(
        isGradient ? "gradient (and destination)" : "source (and destination)", source,
        isAlone: true)
      return
    }
    // A gradient that is the kept tensor is a mistake even where it is only read.
    try tensor(isGradient ? "gradient" : "source", source, isAlone: isGradient)
    try tensor("destination", destination, isAlone: true)
  }

  /// Parameters or statistics, one value for each channel unless said; nothing where there are
  /// none.
  mutating func array(
    _ name: StaticString, _ base: UnsafeRawPointer?, count: Int? = nil, isWritten: Bool
  ) throws(KernelError) {
    guard let base else { return }
    let number = kernel.element.statisticsBytes
    let region = Region(
      name: name, first: UInt(bitPattern: base),
      bytes: UInt((count ?? kernel.geometry.channels) * number), isAlone: isWritten)
    try add(region, alignment: number)
  }

  mutating func add(_ workspace: ABNWorkspace) throws(KernelError) {
    let region = Region(
      name: "scratch", first: UInt(bitPattern: workspace.scratch),
      bytes: UInt(kernel.scratchBytes), isAlone: true)
    try add(region, alignment: 64)
  }

  mutating func add(_ parameters: ABNParameters) throws(KernelError) {
    let channels = kernel.geometry.channels
    if kernel.activation == .prelu {
      guard parameters.slopes != nil else {
        throw KernelError(
          what: "prelu slopes", got: "nil", wanted: "a pointer to 1 or \(channels) slopes",
          fix: "Set ABNParameters.slopes.")
      }
      guard parameters.slopeCount == 1 || parameters.slopeCount == channels else {
        throw KernelError(
          what: "prelu slope count", got: "\(parameters.slopeCount)",
          wanted: "1 or \(channels)", fix: "Pass one slope, or one per channel.")
      }
    }
    try array("scale", parameters.scale, isWritten: false)
    try array("bias", parameters.bias, isWritten: false)
    try array("slopes", parameters.slopes, count: slopeCount(parameters), isWritten: false)
  }

  mutating func add(_ state: ABNLayerState, isWritten: Bool) throws(KernelError) {
    try add(state.parameters)
    let saved = state.saved
    try array("saved mean", saved.mean, isWritten: isWritten)
    try array("saved mean remainder", saved.meanRemainder, isWritten: isWritten)
    try array("saved inverse deviation", saved.inverseDeviation, isWritten: isWritten)
    guard let rescue = state.rescue else { return }
    guard rescue.geometry == kernel.geometry, rescue.element == kernel.element else {
      throw KernelError(
        what: "rescue", got: "that of a tensor of \(rescue.element), \(rescue.geometry)",
        wanted: "\(kernel.element), \(kernel.geometry)",
        fix: "Make it with ABNRescue(kernel), one for each tensor.")
    }
  }

  /// What a forward pass writes beside its destination.
  mutating func add(_ state: ABNLayerState, _ activated: ABNActivated?) throws(KernelError) {
    if let activated {
      try tensor("activated destination", activated.destination, isAlone: true)
    }
    try add(state, isWritten: true)
  }

  mutating func add(
    _ gradients: ABNGradients, _ parameters: ABNParameters
  ) throws(KernelError) {
    try array("scale gradient", gradients.scale, isWritten: true)
    try array("bias gradient", gradients.bias, isWritten: true)
    try array("slopes gradient", gradients.slopes, count: slopeCount(parameters), isWritten: true)
  }

  private func slopeCount(_ parameters: ABNParameters) -> Int {
    kernel.activation == .prelu ? parameters.slopeCount : 0
  }

  /// Throws for a buffer that must be alone and overlaps another.
  func check() throws(KernelError) {
    for index in 0..<count {
      let b = regions[index]
      for other in 0..<index {
        let a = regions[other]
        guard (a.isAlone || b.isAlone) && a.first < b.end && b.first < a.end else { continue }
        throw KernelError(
          what: "\(a.name) and \(b.name)", got: "buffers that overlap",
          wanted: "memory of its own for each"
            + (a.name.description == "source" ? ", or the same for both" : ""),
          fix: "Pass separate buffers, each as large as its documentation says.")
      }
    }
  }
}

extension ABNKernel {
  func checkMomentum(_ moving: ABNMovingStatistics?) throws(KernelError) {
    guard let moving, !(0...1).contains(moving.momentum) else { return }
    throw KernelError(
      what: "momentum", got: "\(moving.momentum)", wanted: "0 ... 1", fix: "Use 0.9.")
  }

  package func checkTrainable() throws(KernelError) {
    guard geometry.channels > 0, geometry.countPerChannel < 2 else { return }
    let isEmpty = geometry.countPerChannel == 0
    throw KernelError(
      what: "batch statistics", got: isEmpty ? "an empty tensor" : "one element per channel",
      wanted: isEmpty
        ? "two or more elements per channel" : "two or more, as the variance of one value is 0",
      fix: isEmpty
        ? "Skip the layer for an empty batch."
        : "Use a larger batch, or given statistics (globalForward).")
  }

  /// Scale 0 cannot be divided by, and the sign of z does not tell that of y under a slope below 0:
  /// such a channel needs its row in the rescue.
  func checkInvertible(_ state: ABNLayerState) throws(KernelError) {
    let (parameters, rescue) = (state.parameters, state.rescue)
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

  /// Whether no value of an array of parameters is 0: a loop without a choice, as thousands of
  /// small channels feel it.
  private func allNonzero(_ base: UnsafeRawPointer?) -> Bool {
    guard let base else { return true }
    func zeros<Number: BinaryFloatingPoint>(_ type: Number.Type) -> Int {
      let numbers = base.assumingMemoryBound(to: Number.self)
      var zeros = 0
      for channel in 0..<geometry.channels { zeros |= numbers[channel] == 0 ? 1 : 0 }
      return zeros
    }
    return (element.statistics == .float64 ? zeros(Double.self) : zeros(Float.self)) == 0
  }
}
