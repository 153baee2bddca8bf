import ABNKernelsBaseline
import CKernels

/// Sums, the gradients that follow from them, dx.
struct BackwardPass: LayerPass, @unchecked Sendable {
  // Sendable: as `Engine`.

  let engine: Engine
  let call: ABNBackward
  /// The gradient of an activation behind the layer, and the dz that it reads.
  private let outer: (gradient: FlatKernel, dz: UnsafeRawPointer)?
  let kept: UnsafeRawPointer
  let isInput: Bool
  let isBatch: Bool
  /// Whether gradients may be taken without y - bias: with given statistics there is no part of
  /// xhat in dx, and a channel that is constant cannot be told.
  private let mayBeDirect: Bool
  private let sumCall: abn_kernel_call
  private let mapCall: abn_kernel_call
  let totals: UnsafeMutablePointer<Double>
  let room: Room

  /// `behind`: the gradient of the activation behind the layer, if there is one.
  init(_ engine: Engine, _ call: ABNBackward, _ behind: FlatKernel?, _ scratch: Scratch) {
    self.engine = engine
    var call = call
    outer = behind.map { ($0, call.gradient) }
    // dy takes its place in the destination, before sums over it are taken.
    if behind != nil { call.gradient = UnsafeRawPointer(call.destination) }
    self.call = call
    switch call.kept {
    case .output(let output): (kept, isInput) = (output, false)
    case .input(let input): (kept, isInput) = (input, true)
    }
    isBatch = call.mode == .batch
    mayBeDirect = engine.canBeDirect && isBatch && !isInput
    // The matching apply follows each reduce.
    let reduce =
      isInput
      ? Step.reduceInput
      : engine.kernel.activation.isInvertible ? Step.reduce : Step.reduceStored
    sumCall = engine.call(KernelStep(reduce, engine.code, kept, call.gradient))
    mapCall = engine.call(
      KernelStep(reduce + 1, engine.code, kept, call.gradient, to: call.destination))
    (totals, room) = (scratch.totals, scratch.room)
  }

  var hasSums: Bool { true }
  var hasMap: Bool { true }
  var tensors: Int { 2 }
  var prefetchesFirst: Bool { false }

  /// What the sums are taken with.
  @inline(never) func begin(_ slots: ChannelSlots) {
    for index in 0..<slots.channels.count {
      let channel = slots.channels.lowerBound &+ index
      if isInput {
        slots.put(index, engine.values(channel))
        continue
      }
      let slope = engine.slope(channel)
      slots.put(index, Slot.bias, engine.bias(channel))
      slots.put(index, Slot.slope, slope)
      slots.put(index, Slot.inverseSlope, engine.hasSlopes ? 1 / slope : engine.inverseAlpha)
      slots.put(index, Slot.keep, engine.rescueRow(channel) == nil ? 0 : 1)
    }
  }

  func prepare(_ unit: Int, _ room: Room) {
    let isDirect = mayBeDirect && engine.plan.channels(unit).allSatisfy(engine.isDirect)
    room.setDirect(unit, isDirect)
  }

  @inline(never) func first(_ window: Window, _ room: Room) {
    if let outer {
      let element = engine.kernel.element
      // Over the whole window before the sums begin: by parts their chunks would end elsewhere, and
      // an activation behind the layer would have other last bits than one apart.
      engine.forEachRun(window, room) { offset, count in
        outer.gradient(
          FlatOperands(
            FlatOperand(kept + offset, element), FlatOperand(outer.dz + offset, element),
            FlatOperand(call.destination + offset, element)), 0..<count)
      }
    }
    if !engine.isRescuedWhole(window.unit) {
      let isDirect = room.isDirect(window.unit)
      engine.go(sumCall, step: isDirect ? Step.reduceDirect : nil, window, room)
    }
    if engine.hasRescued { reduceRescued(window, room) }
  }

  @inline(never) func total(_ unit: Int, _ numbers: Range<Int>, _ room: Room) {
    let row = engine.plan.lanes &* 8
    var first = numbers.lowerBound
    while first < numbers.upperBound {
      let sums = engine.sumOfSlices(unit, lane: first, room)
      for local in 0..<min(16, numbers.upperBound &- first) {
        let at = 3 &* (unit &* engine.plan.width &+ first &+ local)
        totals[at] = engine.total(sums, local)
        totals[at &+ 1] = engine.total(sums + row, local)
        if engine.hasSlopes { totals[at &+ 2] = engine.total(sums + 2 &* row, local) }
      }
      first &+= 16
    }
  }

  /// The gradients of parameters from sums; `totals` keeps dbias, dscale and the sum for the slope.
  /// Then
  ///
  /// dx = gain * dy - gain * dbias / m - gain * xhat * dscale / m, with xhat * gain being (y -
  /// bias) * inverse, or (x - mean) * inverse * gain, where x - mean is taken times the channel's
  /// unit.
  @inline(never) func finish(_ slots: ChannelSlots) {
    let perChannel = engine.parameters.slopeCount == 1 ? nil : call.gradients.slopes
    for index in 0..<slots.channels.count {
      let channel = slots.channels.lowerBound &+ index
      let sums = totals + 3 &* channel
      let hasAside = engine.aside != nil && addAside(channel)
      let inverse = engine.inverse(channel)
      let scale = engine.scale(channel)
      let gain = inverse * scale
      // The kernels sum dy * (x - mean) or dy * (y - bias).
      let fromInput = usesInput(channel) ? relativeInverse(channel) : 0
      let dscale = usesInput(channel) ? sums[1] * fromInput : sums[1] / scale
      sums[1] = dscale
      engine.setNumber(call.gradients.bias, channel, sums[0])
      engine.setNumber(call.gradients.scale, channel, dscale)
      if engine.hasSlopes { engine.setNumber(perChannel, channel, sums[2]) }
      if hasAside { applyAside(channel) }
      slots.put(index, Slot.dyFactor, gain)
      let distance = usesInput(channel) ? gain * fromInput : inverse
      slots.put(index, Slot.offset, isBatch ? -gain * (sums[0] / engine.m) : 0)
      slots.put(index, Slot.distanceFactor, isBatch ? -distance * (dscale / engine.m) : 0)
    }
  }

  /// 1 / deviation in units of the channel.
  @inline(never) private func relativeInverse(_ channel: Int) -> Double {
    let inverse = engine.inverse(channel)
    let unit = engine.unit(inverse, engine.number(engine.saved?.mean, channel, default: 0))
    return unit == 1 ? inverse : inverse / unit
  }

  /// All numbers of a channel whose dx is made from x.
  func valuesFromInput(_ channel: Int) -> ChannelValues {
    var values = engine.values(channel)
    values.keep = 0
    values.dyFactor = values.gain
    if !isBatch { return values }
    values.offset = -values.gain * (totals[3 * channel] / engine.m)
    values.distanceFactor =
      -(values.gain * relativeInverse(channel)) * (totals[3 * channel + 1] / engine.m)
    return values
  }

  /// Without a part of the distance in each channel dx is the other way's.
  func settle(_ unit: Int, _ room: Room) {
    if !mayBeDirect || !room.isDirect(unit) { return }
    let slots = room.slots(unit..<unit + 1)
    for index in 0..<slots.channels.count {
      let at = slots.base + Slot.distanceFactor * slots.slotBytes + index * slots.channelBytes
      if Engine.isDirect(factor: engine.number(at, 0, default: 0)) { continue }
      room.setDirect(unit, false)
      return
    }
  }

  @inline(never) func second(_ window: Window, _ room: Room) {
    if engine.hasRescued { applyRescued(window) }
    // No more of it is left to do.
    if engine.isRescuedWhole(window.unit) { return }
    let isDirect = room.isDirect(window.unit)
    engine.go(mapCall, step: isDirect ? Step.applyDirect : nil, window, room)
  }

  @inline(__always) private func usesInput(_ channel: Int) -> Bool {
    isInput || engine.rescueRow(channel) != nil
  }
}

extension Engine {
  /// dx, and the gradients of scale, bias and slopes.
  func backward(_ call: ABNBackward, _ behind: FlatKernel?, _ workspace: ABNWorkspace) {
    let pass = BackwardPass(self, call, behind, Scratch(workspace.scratch, self))
    pass.run(workspace.team)
    if let aside { giveAside(aside.dx, call.destination, workspace.team) }
    zeroPadding(call.destination)
    guard hasSlopes, parameters.slopeCount == 1, call.gradients.slopes != nil else { return }
    var total = 0.0
    for channel in 0..<channels { total += pass.totals[3 * channel + 2] }
    setNumber(call.gradients.slopes, 0, total)
  }

  // MARK: without y - bias

  /// Whether the backward pass may leave out y - bias, as far as the whole layer decides: from z,
  /// in channels that are large enough.
  static func canBeDirect(_ kernel: ABNKernel) -> Bool {
    kernel.activation.isInvertible
      && kernel.geometry.countPerChannel >= kernel.leastDirectCount
  }

  /// Whether the gradients of a channel are sums of multiples, of dz and z or for elu of dy and y,
  /// and a constant.
  ///
  /// The other road takes y - bias for every element, with 0 where z is what bias is stored as:
  /// dscale of a constant channel is then exactly 0, and a small variance keeps its digits. This
  /// one takes z (y) as it is, and bias from the sums: a step rounds by u * abs(z) where the other
  /// road rounds by u * abs(y - bias), u being half an ulp of 1 in the type of parameters. So it is
  /// for channels where
  /// * abs(bias) is at most 0.75 abs(scale), as with dz of one sign dscale would be off by more
  ///   than its bound; or 8, the rule of rescue, for elements of 16 bits, as what z
  ///   has lost by being stored is far more than u;
  /// * variance is at least epsilon, so that xhat has a deviation of 0.7 or more, and z is not all
  ///   bias;
  /// * no factor comes near underflow or overflow.
  ///
  /// A channel whose statistics are NaN is NaN on both roads, and must not change that of its
  /// neighbours.
  @inline(__always) func isDirect(_ channel: Int) -> Bool {
    let inverse = inverse(channel, default: 0)
    let scale = abs(scale(channel))
    let slope = slope(channel)
    return rescueRow(channel) == nil && abs(bias(channel)) <= (bytes == 2 ? 8 : 0.75) * scale
      && !(kernel.epsilon * inverse * inverse > 0.5) && slope >= 0x1p-20 && slope <= 0x1p20
      && Self.isDirect(factor: scale * inverse)
  }

  /// Whether a factor of dz or z, times a slope or its inverse, keeps its digits in float32.
  /// Without a part of the distance dx is the other way's: 0 times an infinite z is NaN.
  @inline(__always) static func isDirect(factor: Double) -> Bool {
    !(abs(factor) < 0x1p-60 || abs(factor) > 0x1p60)
  }
}
