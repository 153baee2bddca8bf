import ABNKernelsBaseline
import CKernels

/// One call of a layer function: the buffers of parameters, how the tensor is cut, and the kernels.
struct Engine {
  let kernel: ABNKernel
  let schedule: Schedule
  let parameters: ABNParameters
  let saved: ABNSavedStatistics?
  let rescue: ABNRescue?
  /// Whether a pass before this one has rescued channels.
  let hasRescued: Bool
  /// The elements that it has kept aside, if any.
  let aside: Aside?
  let run: KernelEntry
  let code: Int
  let isInvertible: Bool
  let canBeDirect: Bool
  let canKeepAside: Bool
  let usual: UsualChannels
  let bytes: Int
  let isDouble: Bool
  /// Whether the tensor is larger than the caches that make asking for it ahead a loss.
  let isFar: Bool
  /// The slope and its inverse where all channels have one: a division for each of thousands of small
  /// channels is felt.
  let alpha: Double
  let inverseAlpha: Double
  let hasSlopes: Bool

  init(_ kernel: ABNKernel, _ state: ABNLayerState) {
    self.init(kernel, state.parameters, state.saved, state.rescue)
  }

  init(
    _ kernel: ABNKernel, _ parameters: ABNParameters, _ saved: ABNSavedStatistics?,
    _ rescue: ABNRescue? = nil
  ) {
    self.kernel = kernel
    schedule = Schedule(kernel.geometry, kernel.element, kernel.caches)
    self.parameters = parameters
    self.saved = saved
    self.rescue = rescue
    hasRescued = (rescue?.count ?? 0) > 0
    aside = (rescue?.asideCount ?? 0) > 0 ? rescue?.aside : nil
    run = kernel.instructionSet.run
    code = kernel.activation.code
    isInvertible = kernel.activation.isInvertible
    canBeDirect = Self.canBeDirect(kernel)
    canKeepAside = Self.keepsAside(kernel)
    usual = UsualChannels(kernel)
    bytes = kernel.element.bytes
    switch schedule.form {
    case .runs(let runs):
      isFar = kernel.caches.areFar(runs: runs.length * bytes, of: kernel.bufferBytes)
    case .rows:
      isFar = kernel.caches.areFar(rowsOf: kernel.geometry.channels, of: kernel.bufferBytes)
    }
    isDouble = kernel.element.statistics == .float64
    hasSlopes = kernel.activation == .prelu
    // As the kernels have it: the inverse must be that of the rounded slope, so that -alpha times it is not
    // below -1.
    let slope = hasSlopes ? 1 : kernel.slope(parameters, 0)
    alpha = isDouble ? slope : Double(Float(slope))
    inverseAlpha = 1 / alpha
  }

  var channels: Int { kernel.geometry.channels }
  var count: Int { kernel.geometry.countPerChannel }

  /// The activation that the forward pass applies: none where y is stored.
  var appliedCode: Int { isInvertible ? code : ActivationCode.identity }

  /// The channels of a unit.
  func group(_ runs: Schedule.Runs, _ unit: Int) -> LaneGroup {
    switch runs.width {
    case 1: LaneGroup.alone(unit)
    case 8: LaneGroup(first: unit * 8, channels: min(8, channels - unit * 8), copies: 2)
    default: LaneGroup(first: unit * 16, channels: min(16, channels - unit * 16), copies: 1)
    }
  }

  /// The channels of 16 lanes of a row.
  func group(row lane: Int) -> LaneGroup {
    LaneGroup(first: lane, channels: min(16, channels - lane), copies: 1)
  }

  /// The rows of a tensor's channels.
  func rows(_ base: UnsafeMutableRawPointer, _ stride: Int) -> ParameterRows {
    ParameterRows(base: base, stride: stride, isDouble: isDouble)
  }

  /// The rows of a group.
  func rows(_ base: UnsafeMutableRawPointer, of group: LaneGroup) -> ParameterRows {
    ParameterRows(base: base, stride: group.parameterLanes, isDouble: isDouble)
  }

  /// Value `channel` of an array of parameters or statistics: `ABNKernel.statistic` with the type
  /// looked up once.
  @inline(__always) func number(
    _ base: UnsafeRawPointer?, _ channel: Int, default value: Double
  ) -> Double {
    guard let base else { return value }
    return isDouble
      ? base.load(fromByteOffset: channel &* 8, as: Double.self)
      : Double(base.load(fromByteOffset: channel &* 4, as: Float.self))
  }

  /// Stores value `channel` of an array of parameters or statistics.
  @inline(__always) func setNumber(
    _ base: UnsafeMutableRawPointer?, _ channel: Int, _ value: Double
  ) {
    guard let base else { return }
    if isDouble {
      base.storeBytes(of: value, toByteOffset: channel &* 8, as: Double.self)
    } else {
      base.storeBytes(of: Float(value), toByteOffset: channel &* 4, as: Float.self)
    }
  }

  /// What the forward pass and the way back from z need of a channel. Inlined, so that nothing is
  /// computed that the caller does not use.
  @inline(__always) func values(_ channel: Int) -> ChannelValues {
    var values = ChannelValues()
    let scale = number(parameters.scale, channel, default: 1)
    values.bias = number(parameters.bias, channel, default: 0)
    values.shiftedBias = values.bias
    if let saved {
      let inverse = number(saved.inverseDeviation, channel, default: 1)
      values.mean = number(saved.mean, channel, default: 0)
      values.meanRemainder = number(saved.meanRemainder, channel, default: 0)
      values.gain = inverse * scale
      values.unit = unit(inverse, values.mean)
    }
    if values.meanRemainder != 0 {
      values.shiftedBias = values.bias - values.meanRemainder * values.gain
    }
    values.slope = hasSlopes ? kernel.slope(parameters, channel) : alpha
    values.inverseSlope = hasSlopes ? 1 / values.slope : inverseAlpha
    values.keep = rescueRow(channel) == nil ? 0 : 1
    return values
  }

  /// The same, and what x is computed back with.
  func restoring(_ channel: Int) -> ChannelValues {
    var values = values(channel)
    values.spread = 1 / values.gain
    values.unit = 1
    return values
  }

  /// One call of a kernel on a range of runs of a unit, whose sums begin with it (`starts`) or go on. A second
  /// pass over a unit goes from its last run to its first (`isReversed`), as what was read last is nearest.
  @inline(__always) func callRuns(
    _ step: Int, _ code: Int, _ runs: Schedule.Runs, _ unit: Int,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ block: UnsafeMutableRawPointer,
    _ sums: UnsafeMutableRawPointer, starts: Bool = false, isReversed: Bool = false, later: Int = 0,
    state: UnsafeMutableRawPointer? = nil
  ) {
    if extent.runs.isEmpty {
      if starts { clearSums(sums, 16) }
      return
    }
    let first = isReversed ? extent.runs.upperBound - 1 : extent.runs.lowerBound
    // Within the buffers, whose sizes have been checked.
    let start =
      (unit &* runs.unitStride &+ first &* runs.stride &+ extent.elements.lowerBound) &* bytes
    // A channel in all lanes is rescued as a whole, by other calls.
    let isUniform = runs.width == 1
    var call = abn_kernel_call(self, step, code, block: block, sums: sums)
    call.take(a + start, b + start, out + start)
    if let state { call.state = state }
    call.lanes = isUniform ? 1 : 16
    call.keeps = !isUniform && hasRescued
    call.starts = starts
    call.is_far = isFar
    call.later = later
    call.count = extent.runs.count
    call.stride = isReversed ? -runs.stride : runs.stride
    call.length = extent.elements.count
    run(call)
  }

  /// One call of a kernel on a range of rows.
  func callRows(
    _ step: Int, _ code: Int, _ range: Range<Int>, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    _ out: UnsafeMutableRawPointer, _ block: UnsafeMutableRawPointer,
    _ state: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer
  ) {
    let start = range.lowerBound * channels * bytes
    var call = abn_kernel_call(self, step, code, block: block, sums: sums)
    call.take(a + start, b + start, out + start)
    call.state = state
    call.lanes = schedule.lanes
    call.is_rows = true
    call.keeps = hasRescued
    call.is_far = isFar
    call.count = range.count
    call.length = channels
    run(call)
  }

  /// Elements from a unit to the one `step` units on, which its thread is to read next, if asking for that
  /// beside the passes over this one brings it nearer (in the second the memory has nothing else to do); else 0.
  /// `parts`: how many parts of `step` units are worked on at the same time, of `tensors` tensors.
  func later(_ runs: Schedule.Runs, tensors: Int, parts: Int, step: Int) -> Int {
    let unit = runs.count * runs.length * bytes
    let atOnce = min(max(1, min(parts, runs.units)) * step, runs.units)
    let next = tensors * atOnce * unit
    return kernel.caches.hold(next: next, of: kernel.bufferBytes) ? step * runs.unitStride : 0
  }

  /// Calls `body` for every part from the last to the first, as what was read last is nearest: with a known
  /// number of threads each goes back over what a first pass in order gave it.
  func backwards(_ parts: Int, _ parallel: KernelTeam, _ body: (Int) -> Void) {
    let threads = min(parallel.count, parts)
    withoutActuallyEscaping(body) { body in
      if threads <= 1 {
        parallel(parts) { body(parts - 1 - $0) }
        return
      }
      parallel(threads) { thread in
        for part in share(thread, of: threads, in: parts).reversed() { body(part) }
      }
    }
  }

  /// Writes the slot `plain` of the rows, from bias and slope; nothing for one channel in all lanes,
  /// where the kernels do it themselves.
  func prepare(_ block: UnsafeMutableRawPointer, _ lanes: Int) {
    if lanes == 1 { return }
    let step = isInvertible ? Step.prepare : Step.prepareStored
    var call = abn_kernel_call(self, step, code, block: block, sums: block)
    call.lanes = lanes
    call.count = 0
    run(call)
  }
}

/// The part of scratch that each purpose has.
struct Scratch {
  /// Sums of every slice: 3 rows of `lanes` float64 each.
  var sums: UnsafeMutableRawPointer
  /// Running state of every slice in the rows form: 3 rows of `lanes` numbers each.
  var state: UnsafeMutableRawPointer
  /// Parameter rows that all slices share in the rows form.
  var block: UnsafeMutableRawPointer
  /// Three float64 for each channel: the finished sums; forward two, and the pivot.
  var totals: UnsafeMutablePointer<Double>

  let sumsBytes: Int
  let stateBytes: Int

  init(_ base: UnsafeMutableRawPointer, _ kernel: ABNKernel, _ schedule: Schedule) {
    let parts = Self.parts(kernel, schedule)
    totals = base.assumingMemoryBound(to: Double.self)
    sums = base + parts.totals
    block = sums + parts.sums
    state = block + parts.block
    sumsBytes = 3 * schedule.lanes * 8
    stateBytes = Self.stateBytes(schedule)
  }

  func sums(_ slice: Int) -> UnsafeMutableRawPointer { sums + slice * sumsBytes }
  func state(_ slice: Int) -> UnsafeMutableRawPointer { state + slice * stateBytes }

  static func bytes(_ kernel: ABNKernel, _ schedule: Schedule) -> Int {
    let parts = Self.parts(kernel, schedule)
    return parts.totals + parts.sums + parts.block + parts.state
  }

  private static func stateBytes(_ schedule: Schedule) -> Int { 3 * schedule.lanes * 8 }

  private static func parts(
    _ kernel: ABNKernel, _ schedule: Schedule
  ) -> (totals: Int, sums: Int, block: Int, state: Int) {
    let number = kernel.element.statisticsBytes
    let totals = (kernel.geometry.channels * 24 + 63) / 64 * 64
    switch schedule.form {
    case .runs(let runs):
      let slices = schedule.slices == 1 ? 0 : runs.units * schedule.slices
      return (totals, slices * 3 * 16 * 8, 0, 0)
    case .rows:
      let lanes = schedule.lanes
      return (
        totals, schedule.slices * 3 * lanes * 8, Slot.count * lanes * number,
        schedule.slices * Self.stateBytes(schedule)
      )
    }
  }
}

extension ABNActivation {
  /// The number that the kernels know the activation by.
  var code: Int {
    switch self {
    case .identity: ActivationCode.identity
    // A product with 0 would make NaN of an infinite y.
    case .leakyReLU(let alpha): alpha == 0 ? ActivationCode.relu : ActivationCode.leaky
    case .prelu: ActivationCode.learnedLeaky
    case .elu: ActivationCode.elu
    case .relu: ActivationCode.relu
    case .relu6: ActivationCode.relu6
    case .sigmoid: ActivationCode.sigmoid
    case .tanh: ActivationCode.tanh
    case .swish: ActivationCode.swish
    case .gelu: ActivationCode.gelu
    case .hardSwish: ActivationCode.hardSwish
    case .mish: ActivationCode.mish
    }
  }
}
