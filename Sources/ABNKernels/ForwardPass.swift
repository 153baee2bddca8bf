import ABNKernelsBaseline
import CKernels

/// Which statistics a pass over the tensor uses and where they go.
enum StatisticsTarget {
  /// The forward pass of training.
  case train(ABNSavedStatistics, ABNMovingStatistics?)
  /// Given mean and variance.
  case given(ABNSavedStatistics, ABNGivenStatistics)
  /// Statistics only.
  case only(ABNStatistics)
}

/// Statistics, what follows from them, z. With given statistics the sums only say which channels
/// are rescued, and there are none without a rescue.
struct ForwardPass: LayerPass, @unchecked Sendable {
  // Sendable: as `Engine`.

  let engine: Engine
  let target: StatisticsTarget
  let source: UnsafeRawPointer
  let hasMap: Bool
  private let firstCall: abn_kernel_call
  private let secondCall: abn_kernel_call
  let totals: UnsafeMutablePointer<Double>
  let room: Room
  let rule: RescueRule
  let isGiven: Bool
  let hasSums: Bool
  /// Whether single elements are kept aside.
  let keepsAside: Bool
  /// The rows of rescued channels so far.
  private let rows: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
  /// An activation of the result, and where it goes.
  typealias Behind = (loop: FlatKernel, destination: UnsafeMutableRawPointer)
  private let behind: Behind?

  init(
    _ engine: Engine, _ target: StatisticsTarget, _ source: UnsafeRawPointer,
    _ destination: UnsafeMutableRawPointer?, _ scratch: Scratch, _ behind: Behind? = nil
  ) {
    self.behind = behind
    self.engine = engine
    self.target = target
    self.source = source
    hasMap = destination != nil
    firstCall = engine.call(KernelStep(Step.statistics, engine.appliedCode, source))
    secondCall = engine.call(
      KernelStep(Step.forward, engine.appliedCode, source, to: destination))
    (totals, room) = (scratch.totals, scratch.room)
    rule = RescueRule(engine.kernel)
    if case .given = target { isGiven = true } else { isGiven = false }
    hasSums = !isGiven || engine.rescue != nil && engine.count > 0
    rows = engine.rescue?.rows
    keepsAside = rule.keepsAside && engine.rescue != nil && hasSums
  }

  var tensors: Int { 1 }
  var prefetchesFirst: Bool { true }

  /// Given statistics are saved, pivots chosen.
  @inline(never) func begin(_ slots: ChannelSlots) {
    let plan = engine.plan
    for index in 0..<slots.channels.count {
      let channel = slots.channels.lowerBound &+ index
      // A unit of one channel, or the unit of this one.
      let first = plan.isUniform ? channel &* plan.unitStride : start(slots) &+ index
      let pivot = isGiven ? takeGiven(channel) : pivot(first)
      totals[3 &* channel &+ 2] = pivot
      slots.put(index, Slot.mean, pivot)
    }
  }

  /// The first element of a unit.
  @inline(__always) private func start(_ slots: ChannelSlots) -> Int {
    slots.channels.lowerBound / engine.plan.width &* engine.plan.unitStride
  }

  /// Saves what is given of a channel; its mean is what sums are taken around.
  @inline(never) private func takeGiven(_ channel: Int) -> Double {
    guard case .given(let saved, let given) = target else { return 0 }
    let spread = engine.number(given.variance, channel, default: 1)
    let mean = engine.number(given.mean, channel, default: 0)
    engine.setNumber(saved.mean, channel, mean)
    engine.setNumber(saved.meanRemainder, channel, 0)
    engine.setNumber(
      saved.inverseDeviation, channel, 1 / (spread + engine.kernel.epsilon).squareRoot())
    return mean
  }

  /// What a channel's sums are taken around, with its first element at `first`: the middle one of
  /// its first, one in the middle and the last. The sums lose log2((mean - pivot)^2 / variance) of
  /// float64's 53 bits, which is much where the pivot is the one element far from all others.
  @inline(__always) private func pivot(_ first: Int) -> Double {
    if engine.kernel.element != .float32 { return anyPivot(first) }
    let x = source.assumingMemoryBound(to: Float.self) + first
    return Double(middle(x[0], x[engine.middle], x[engine.last]))
  }

  @inline(never) private func anyPivot(_ first: Int) -> Double {
    func x(_ index: Int) -> Double { engine.kernel.load(source, first &+ index) }
    return middle(x(0), x(engine.middle), x(engine.last))
  }

  /// The middle one of three. The mean of elements of which one is infinite does not depend on
  /// which.
  @inline(__always) private func middle<T: BinaryFloatingPoint>(_ a: T, _ b: T, _ c: T) -> T {
    let middle = max(min(a, b), min(max(a, b), c))
    return middle.isFinite ? middle : 0
  }

  @inline(never) func first(_ window: Window, _ room: Room) {
    engine.go(firstCall, window, room)
  }

  /// Mean and variance from the sums around the pivot, and all that follows from them.
  @inline(never) func finish(_ slots: ChannelSlots) {
    for index in 0..<slots.channels.count {
      let channel = slots.channels.lowerBound &+ index
      let (sum, square) = (totals[3 &* channel], totals[3 &* channel &+ 1])
      let shift = sum / engine.m
      var spread = (mean: 0.0, square: 0.0)
      if isGiven {
        spread = givenSpread(channel, shift, square)
      } else {
        let raw = (square - sum * shift) / engine.m
        // float64's own end: elements whose squares are infinite, though their sum is not.
        let isBeyond = square == .infinity && sum.isFinite
        let variance = isBeyond ? .infinity : (raw < 0 ? 0 : raw)
        let pivot = totals[3 &* channel &+ 2]
        let (mean, remainder) = splitSum(pivot, shift)
        if !hasMap {
          give(channel, mean, remainder, variance)
          continue
        }
        let inverse = 1 / (variance + engine.kernel.epsilon).squareRoot()
        engine.setNumber(engine.saved?.mean, channel, mean)
        engine.setNumber(engine.saved?.meanRemainder, channel, remainder)
        engine.setNumber(engine.saved?.inverseDeviation, channel, inverse)
        if case .train(_, let moving?) = target {
          update(moving.mean, channel, pivot + shift, moving.momentum)
          update(moving.variance, channel, variance, moving.momentum)
        }
        // A variance that underflows is not that of a constant channel.
        let share = variance == 0 && shift != 0 ? Double.leastNonzeroMagnitude : variance
        spread.square = share * inverse * inverse
      }
      let limit = hasSums ? decide(channel, mean: spread.mean, square: spread.square) : -.infinity
      setForward(slots, index, limit: limit)
    }
  }

  /// Mean and mean square of xhat with given statistics, of which the mean is the pivot.
  @inline(never) private func givenSpread(
    _ channel: Int, _ shift: Double, _ square: Double
  ) -> (mean: Double, square: Double) {
    let inverse = engine.inverse(channel)
    let spread = square / engine.m * inverse * inverse
    return (shift * inverse, spread.isNaN ? .infinity : max(0, spread))
  }

  @inline(never) private func give(
    _ channel: Int, _ mean: Double, _ remainder: Double, _ variance: Double
  ) {
    guard case .only(let statistics) = target else { return }
    engine.setNumber(statistics.mean, channel, mean)
    engine.setNumber(statistics.variance, channel, variance)
    engine.setNumber(statistics.meanRemainder, channel, remainder)
  }

  /// Gives a channel a row of the rescue if z will not tell its x; `mean` and `square` are those of
  /// xhat. Else the y below which single elements are kept aside.
  @inline(__always) private func decide(_ channel: Int, mean: Double, square: Double) -> Double {
    guard let rescue = engine.rescue else { return -.infinity }
    let spread = ChannelSpread(
      scale: engine.scale(channel), bias: engine.bias(channel), slope: engine.slope(channel),
      mean: mean, square: square)
    rescue.sizes[channel] = spread.size
    let limit = rule.saturation(spread)
    if rule.isLost(spread, limit: limit) {
      rescue.take(channel)
      return -.infinity
    }
    return limit
  }

  @inline(__always) private func update(
    _ base: UnsafeMutableRawPointer, _ channel: Int, _ new: Double, _ momentum: Double
  ) {
    let old = engine.number(base, channel, default: 0)
    engine.setNumber(base, channel, old * momentum + new * (1 - momentum))
  }

  /// pivot + shift as a number of the parameters' type and the rest of it.
  @inline(__always) private func splitSum(_ pivot: Double, _ shift: Double) -> (Double, Double) {
    let sum = pivot + shift
    let high = engine.isDouble ? sum : Double(Float(sum))
    guard high.isFinite else { return (high, 0) }
    let rest = abs(pivot) >= abs(shift) ? (pivot - high) + shift : (shift - high) + pivot
    return (high, rest)
  }

  /// Writes what the second pass reads of a channel. Where x - mean can exceed the largest number,
  /// at most sqrt(m) deviations, y is x * gain + (bias - mean * gain): there the mean is at most 2
  /// sqrt(m) deviations, and so many u are lost at most. With given statistics no variance is that
  /// large.
  @inline(__always) private func setForward(
    _ slots: ChannelSlots, _ index: Int, limit: Double
  ) {
    let channel = slots.channels.lowerBound &+ index
    let inverse = engine.inverse(channel)
    var mean = engine.number(engine.saved?.mean, channel, default: 0)
    let remainder = engine.number(engine.saved?.meanRemainder, channel, default: 0)
    let gain = inverse * engine.scale(channel)
    let bias = engine.bias(channel)
    var shiftedBias = remainder == 0 ? bias : bias - remainder * gain
    let reach = inverse * (engine.isDouble ? 0x1p1023 : 0x1p127)
    if reach * reach < engine.m {
      shiftedBias = bias - (mean + remainder) * gain
      mean = 0
    }
    slots.put(index, Slot.mean, mean)
    slots.put(index, Slot.gain, gain)
    slots.put(index, Slot.shiftedBias, shiftedBias)
    slots.put(index, Slot.slope, engine.slope(channel))
    slots.put(index, Slot.limit, limit)
  }

  /// Whether a channel of a unit is rescued. The rows of its own channels are asked where they are
  /// few: at the lock of the count members would wait for one another once a window.
  private func hasRescued(_ unit: Int) -> Bool {
    guard let rows else { return false }
    if engine.plan.isRows { return (engine.rescue?.count ?? 0) > 0 }
    return engine.plan.channels(unit).contains { rows[$0] != nil }
  }

  /// z over a window; x of rescued channels is kept first.
  @inline(never) func second(_ window: Window, _ room: Room) {
    if hasRescued(window.unit) {
      engine.forRescued(window) { row, stretch in engine.keep(source, row, stretch) }
    }
    let number = window.unit &* engine.plan.slices &+ window.slice
    let notes = keepsAside ? engine.rescue?.aside.words(number) : nil
    engine.go(secondCall, window, room, notes: notes)
    guard let behind else { return }
    // Of elements that are still in a cache.
    let (element, y) = (engine.kernel.element, UnsafeRawPointer(secondCall.out))
    engine.forEachRun(window, room) { offset, count in
      var operands = FlatOperands(
        FlatOperand(y + offset, element), FlatOperand(behind.destination + offset, element))
      operands.streams = engine.isBeyondCaches
      behind.loop(operands, 0..<count)
    }
  }
}

extension Engine {
  /// Statistics, or statistics and z, or z with given statistics.
  func forward(
    _ target: StatisticsTarget, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer?,
    _ workspace: ABNWorkspace, _ behind: ForwardPass.Behind? = nil
  ) {
    let pass = ForwardPass(
      self, target, source, destination, Scratch(workspace.scratch, self), behind)
    if pass.keepsAside { rescue?.aside.begin(parts: plan.units * plan.slices) }
    pass.run(workspace.team)
    guard let destination else { return }
    zeroPadding(destination)
    if let behind { zeroPadding(behind.destination) }
    if pass.keepsAside { rescue?.aside.collect(destination) }
  }
}
