import ABNKernelsBaseline
import CKernels

/// One call of a layer function: the buffers of parameters, how the tensor is cut, and the kernels.
///
/// A class, as the compiler copies a struct of this size wherever it calls a function of it.
final class Engine: @unchecked Sendable {
  // Sendable: parts of the work that run at the same time write channels and elements of their own.

  let kernel: ABNKernel
  let plan: Plan
  let parameters: ABNParameters
  let saved: ABNSavedStatistics?
  let rescue: ABNRescue?
  /// Whether a pass before this one has rescued channels.
  let hasRescued: Bool
  /// The elements that it has kept aside, if any.
  let aside: Aside?
  let run: KernelEntry
  let code: Int
  /// The activation that the forward pass applies: none where y is stored.
  let appliedCode: Int
  let canBeDirect: Bool
  let bytes: Int
  let isDouble: Bool
  /// Whether the tensor is larger than the caches that make asking for it ahead a loss.
  let prefetches: Bool
  /// The slope and its inverse where all channels have one: a division for each of thousands of
  /// small channels is felt.
  let alpha: Double
  let inverseAlpha: Double
  let hasSlopes: Bool
  /// Elements of a channel, as the formulas have it.
  let m: Double
  /// Elements from a channel's first to one in the middle and to the last.
  let middle: Int
  let last: Int

  convenience init(_ kernel: ABNKernel, _ state: ABNLayerState) {
    self.init(kernel, state.parameters, state.saved, state.rescue)
  }

  init(
    _ kernel: ABNKernel, _ parameters: ABNParameters, _ saved: ABNSavedStatistics?,
    _ rescue: ABNRescue? = nil
  ) {
    self.kernel = kernel
    plan = Plan(kernel.geometry, kernel.element, kernel.caches)
    self.parameters = parameters
    self.saved = saved
    self.rescue = rescue
    hasRescued = (rescue?.count ?? 0) > 0
    aside = (rescue?.asideCount ?? 0) > 0 ? rescue?.aside : nil
    run = kernel.instructionSet.entries.run
    code = kernel.activation.code
    appliedCode = kernel.activation.isInvertible ? code : ActivationCode.identity
    canBeDirect = Self.canBeDirect(kernel)
    bytes = kernel.element.bytes
    prefetches =
      plan.isRows
      ? kernel.caches.prefetches(rowsOf: kernel.geometry.channels, of: kernel.bufferBytes)
      : kernel.caches.prefetches(runs: plan.length * bytes, of: kernel.bufferBytes)
    isDouble = kernel.element.statistics == .float64
    hasSlopes = kernel.activation == .prelu
    // As the kernels have it: the inverse must be that of the rounded slope, so that -alpha times
    // it is not below -1.
    let slope = hasSlopes ? 1 : kernel.slope(parameters, 0)
    alpha = isDouble ? slope : Double(Float(slope))
    inverseAlpha = 1 / alpha
    m = Double(kernel.geometry.countPerChannel)
    let number = max(0, kernel.geometry.countPerChannel - 1)
    (middle, last) = (plan.offset(number / 2), plan.offset(number))
  }

  var channels: Int { kernel.geometry.channels }
  var count: Int { kernel.geometry.countPerChannel }
  /// Whether two tensors are more than all caches hold.
  var isBeyondCaches: Bool { 2 * kernel.bufferBytes > kernel.caches.sharedBytes }

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

  @inline(__always) func scale(_ channel: Int) -> Double {
    number(parameters.scale, channel, default: 1)
  }
  @inline(__always) func bias(_ channel: Int) -> Double {
    number(parameters.bias, channel, default: 0)
  }
  @inline(__always) func slope(_ channel: Int) -> Double {
    hasSlopes ? kernel.slope(parameters, channel) : alpha
  }
  /// 1 / deviation.
  @inline(__always) func inverse(_ channel: Int, default value: Double = 1) -> Double {
    number(saved?.inverseDeviation, channel, default: value)
  }

  /// All numbers of a channel but the factors of dx.
  func values(_ channel: Int) -> ChannelValues {
    var values = ChannelValues()
    values.bias = bias(channel)
    values.shiftedBias = values.bias
    if let saved {
      let inverse = inverse(channel)
      values.mean = number(saved.mean, channel, default: 0)
      values.meanRemainder = number(saved.meanRemainder, channel, default: 0)
      values.gain = inverse * scale(channel)
      values.unit = unit(inverse, values.mean)
    }
    if values.meanRemainder != 0 {
      values.shiftedBias = values.bias - values.meanRemainder * values.gain
    }
    values.slope = slope(channel)
    values.inverseSlope = hasSlopes ? 1 / values.slope : inverseAlpha
    values.keep = rescueRow(channel) == nil ? 0 : 1
    return values
  }

  /// `Slot.unit` of a channel: 1, or where 1 / deviation^2 comes near the ends of float32 (a
  /// deviation of 1e-20 or 1e20), the power of two below 1 / deviation. The products of dz and x -
  /// mean, and the factor of x - mean in dx, then stay within the range, as xhat does.
  @inline(__always) func unit(_ inverse: Double, _ mean: Double) -> Double {
    inverse >= 0x1p-40 && inverse <= 0x1p40 ? 1 : extremeUnit(inverse, mean)
  }

  @inline(never) private func extremeUnit(_ inverse: Double, _ mean: Double) -> Double {
    guard inverse > 0, inverse.isFinite, mean.isFinite else { return 1 }
    let unit = inverse.binade
    // Only of a constant channel is the mean so many deviations large: x * unit must stay a number.
    let limit = isDouble ? 0x1p900 : 0x1p100
    return abs(mean) * unit > limit ? (limit / abs(mean)).binade : unit
  }

  // MARK: calls of a kernel

  /// A call of a step, in which the window is still to be set.
  func call(_ step: KernelStep) -> abn_kernel_call {
    abn_kernel_call(
      step: step.step, element: kernel.element.rawValue, activation: step.activation, a: step.a,
      b: step.b, out: step.out, parameters: step.out, state: step.out, sums: step.out,
      lanes: plan.parameterLanes, is_rows: plan.isRows,
      // A channel in all lanes is rescued as a whole, by other calls.
      keeps: hasRescued && !plan.isUniform, starts: step.isSum, prefetches: prefetches,
      next_unit: 0, count: 1,
      stride: step.isSum || plan.isRows ? plan.stride : -plan.stride, length: 0)
  }

  /// A call over a window. The second pass over a unit goes from its last run to its first, as what
  /// was read last is nearest; the first begins sums. `notes`: where elements that are kept aside
  /// are noted.
  @inline(__always) func go(
    _ call: abn_kernel_call, step: Int? = nil, _ window: Window, _ room: Room,
    notes: UnsafeMutableRawPointer? = nil
  ) {
    let sums = room.sums(window.unit, window.slice)
    var (runs, length) = (room.plan.runs, room.plan.length)
    var start = window.unit &* room.plan.unitStride
    if room.plan.slices != 1 {
      let extent = extent(window, room)
      (runs, length) = (extent.runs.count, extent.elements.count)
      start &+= extent.runs.lowerBound &* room.plan.stride &+ extent.elements.lowerBound
    }
    // Rows are summed in groups of channels and chunks of rows, each of which adds.
    if call.starts && (call.is_rows || runs == 0) { clearSums(sums, room.plan.lanes) }
    if runs == 0 { return }
    if call.stride < 0 { start &-= (runs &- 1) &* call.stride }
    // Within the buffers, whose sizes have been checked. Made in one piece: of a struct that is
    // changed first the compiler passes a copy, which has to wait for what was just stored.
    let offset = start &* bytes
    run(
      abn_kernel_call(
        step: step ?? call.step, element: call.element, activation: call.activation,
        a: call.a + offset,
        b: call.b + offset, out: call.out + offset, parameters: room.block(window.unit),
        state: notes ?? sums, sums: sums,
        lanes: call.lanes, is_rows: call.is_rows, keeps: call.keeps,
        starts: call.starts && !call.is_rows,
        prefetches: call.prefetches, next_unit: window.nextUnit, count: runs, stride: call.stride,
        length: length))
  }

  /// What a window covers. Not inlined, as the plan is copied for it.
  @inline(never) func extent(_ window: Window, _ room: Room) -> Extent {
    room.plan.extent(window.slice)
  }

  /// Calls `body` with the first byte of each run of a window, and the number of its elements.
  func forEachRun(_ window: Window, _ room: Room, _ body: (_ offset: Int, _ count: Int) -> Void) {
    let (plan, extent) = (room.plan, extent(window, room))
    // Rows follow one another: they are one run.
    if plan.isRows {
      return body(extent.runs.lowerBound * plan.stride * bytes, extent.runs.count * plan.stride)
    }
    let start = window.unit * plan.unitStride + extent.elements.lowerBound
    for run in extent.runs { body((start + run * plan.stride) * bytes, extent.elements.count) }
  }

  /// A step on `count` elements side by side, of one channel, whose parameters stand in `room`.
  func go(_ step: KernelStep, _ count: Int, _ room: Room) {
    run(
      abn_kernel_call(
        step: step.step, element: kernel.element.rawValue, activation: step.activation, a: step.a,
        b: step.b, out: step.out, parameters: room.blocks, state: room.allSums,
        sums: room.allSums, lanes: 1, is_rows: false, keeps: false, starts: false,
        prefetches: false,
        next_unit: 0, count: 1, stride: 0, length: count))
  }

  /// Room on the stack for one channel in all lanes, with its parameters and sums that are 0.
  func alone(_ values: ChannelValues, _ body: (Room) -> Void) {
    Room.onStack(Plan(flat: 0, kernel.element), isDouble: isDouble) { room in
      room.slots(0..<1).put(0, values)
      clearSums(room.allSums, 16)
      body(room)
    }
  }

  // MARK: sums

  func clearSums(_ sums: UnsafeMutableRawPointer, _ lanes: Int) {
    sums.initializeMemory(as: Double.self, repeating: 0, count: 3 * lanes)
  }

  /// The sums of all slices of a unit, in their order, where those of its first slice were: 16
  /// lanes.
  @inline(__always) func sumOfSlices(
    _ unit: Int, lane: Int, _ room: Room
  ) -> UnsafeMutableRawPointer {
    let sums = room.sums(unit, 0) + lane &* 8
    if plan.slices > 1 { addSlices(sums, unit, lane: lane, room) }
    return sums
  }

  @inline(never) private func addSlices(
    _ sums: UnsafeMutableRawPointer, _ unit: Int, lane: Int, _ room: Room
  ) {
    for slice in 1..<plan.slices {
      let more = room.sums(unit, slice) + lane &* 8
      for row in 0..<3 {
        let at = row &* plan.lanes &* 8
        let sum =
          (sums + at).load(as: SIMD16<Double>.self) + (more + at).load(as: SIMD16<Double>.self)
        (sums + at).storeBytes(of: sum, as: SIMD16<Double>.self)
      }
    }
  }

  /// The sum over the lanes of a channel in one row of sums of 16 lanes; pairwise, as a chain of
  /// 16 additions would be felt in small channels.
  @inline(__always) func total(_ sums: UnsafeRawPointer, _ local: Int) -> Double {
    if plan.isUniform { return Self.total(sums) }
    let lanes = sums.assumingMemoryBound(to: Double.self)
    return plan.copies == 2 ? lanes[local] + lanes[local &+ 8] : lanes[local]
  }

  /// The sum over 16 lanes.
  @inline(__always) static func total(_ sums: UnsafeRawPointer) -> Double {
    let all = sums.loadUnaligned(as: SIMD16<Double>.self)
    let eight = all.lowHalf + all.highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}

/// A step of the kernels and the tensors that it goes over.
struct KernelStep {
  var step: Int
  var activation: Int
  /// Whether it takes sums; else it is a map.
  var isSum: Bool
  /// Read.
  var a: UnsafeRawPointer
  var b: UnsafeRawPointer
  /// Written.
  var out: UnsafeMutableRawPointer

  /// A sum, or a map to `out`.
  init(
    _ step: Int, _ activation: Int, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer? = nil,
    to out: UnsafeMutableRawPointer? = nil
  ) {
    self.step = step
    self.activation = activation
    isSum = out == nil
    self.a = a
    self.b = b ?? a
    self.out = out ?? UnsafeMutableRawPointer(mutating: a)
  }
}

extension ABNActivation {
  /// The number that the kernels know the activation by.
  var code: Int {
    switch self {
    case .identity: ActivationCode.identity
    // A product with 0 would make NaN of an infinite y.
    case .leakyReLU(let slope): slope == 0 ? ActivationCode.relu : ActivationCode.leaky
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
    case .hardSigmoid: ActivationCode.hardSigmoid
    }
  }
}
