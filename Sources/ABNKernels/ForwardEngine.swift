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

extension Engine {
  /// Statistics, or statistics and z, or z with given statistics.
  func forward(
    _ target: StatisticsTarget, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer?,
    _ workspace: ABNWorkspace
  ) {
    let scratch = Scratch(workspace.scratch, kernel, schedule)
    let parallel = workspace.team
    if keepsAside(target) {
      let units: Int
      if case .runs(let runs) = schedule.form { units = runs.units } else { units = 1 }
      rescue?.aside.begin(parts: units * schedule.slices)
    }
    if case .given(let saved, let given) = target {
      for channel in 0..<channels {
        let spread = kernel.statistic(given.variance, channel, default: 1)
        kernel.setStatistic(saved.mean, channel, kernel.statistic(given.mean, channel, default: 0))
        kernel.setStatistic(saved.meanRemainder, channel, 0)
        kernel.setStatistic(
          saved.inverseDeviation, channel, 1 / (spread + kernel.epsilon).squareRoot())
      }
    }
    switch schedule.form {
    case .runs(let runs):
      if schedule.slices == 1 {
        forwardUnits(target, runs, source, destination, scratch, parallel)
      } else if schedule.isPhased, takesSums(target), let destination {
        let passes = ForwardPasses(
          engine: self, target: target, runs: runs, source: source, destination: destination,
          scratch: scratch)
        inPhases(runs, tensors: 1, passes, parallel)
      } else {
        forwardSlices(target, runs, source, destination, scratch, parallel)
      }
    case .rows(let count):
      forwardRows(target, count, source, destination, scratch, parallel)
    }
    if let destination {
      zeroPadding(destination)
      if keepsAside(target) { rescue?.aside.collect(destination) }
    }
  }

  /// Both passes over the units of a part while they are in the cache. Small units go through each
  /// step together: the steps of one wait for one another, those of several do not.
  private func forwardUnits(
    _ target: StatisticsTarget, _ runs: Schedule.Runs, _ source: UnsafeRawPointer,
    _ destination: UnsafeMutableRawPointer?, _ scratch: Scratch, _ parallel: KernelTeam
  ) {
    let whole = (runs: 0..<runs.count, elements: 0..<runs.length)
    let step = schedule.unitsPerPart
    let later = later(runs, tensors: 1, parts: parallel.count, step: step)
    parallel(schedule.unitParts(runs.units)) { part in
      StackBlock.with(isUniform: runs.width == 1) { block, sums in
        let units = schedule.units(part, runs.units)
        if takesSums(target) {
          for unit in units {
            let group = group(runs, unit)
            if group.copies != 16 { clear(block, 16) }
            keepPivots(target, group, source, runs.unitStride * unit, scratch)
            sumUnit(
              runs, unit, group, whole, source, block, sums,
              later: unit + step < runs.units ? later : 0
            ) {
              scratch.totals[3 * (group.first + $0) + 2]
            }
            keepTotals(group, sums, 16, scratch, repairs: areExact(target)) {
              sumCarefully(runs, unit, source, $0, $1)
            }
          }
          for unit in units {
            finish(target, group(runs, unit), scratch)
          }
        }
        guard let destination else { return }
        for unit in units {
          let group = group(runs, unit)
          if group.copies != 16 { clear(block, 16) }
          normalize(
            target, runs, unit, 0, group, whole, source, destination, block, sums, scratch,
            later: unit + step < runs.units ? later : 0)
        }
      }
    }
  }

  private func forwardSlices(
    _ target: StatisticsTarget, _ runs: Schedule.Runs, _ source: UnsafeRawPointer,
    _ destination: UnsafeMutableRawPointer?, _ scratch: Scratch, _ parallel: KernelTeam
  ) {
    let parts = runs.units * schedule.slices
    if takesSums(target) {
      parallel(parts) { sumSlice(target, runs, $0, source, scratch) }
      parallel(runs.units) { finishUnit(target, runs, $0, source, scratch) }
    }
    guard let destination else { return }
    backwards(parts, parallel) {
      normalizeSlice(target, runs, $0, source, destination, scratch)
    }
  }

  func sumSlice(
    _ target: StatisticsTarget, _ runs: Schedule.Runs, _ part: Int, _ source: UnsafeRawPointer,
    _ scratch: Scratch,
    later: Int = 0
  ) {
    withSlice(runs, part) { unit, group, extent, block, _ in
      sumUnit(runs, unit, group, extent, source, block, scratch.sums(part), later: later) {
        pivot(target, source, unit * runs.unitStride + $0, group.first + $0)
      }
    }
  }

  /// What follows from the sums of all slices of a unit.
  func finishUnit(
    _ target: StatisticsTarget, _ runs: Schedule.Runs, _ unit: Int, _ source: UnsafeRawPointer,
    _ scratch: Scratch
  ) {
    let group = group(runs, unit)
    keepPivots(target, group, source, runs.unitStride * unit, scratch)
    keepTotals(group, sumOfSlices(unit, scratch), 16, scratch, repairs: areExact(target)) {
      sumCarefully(runs, unit, source, $0, $1)
    }
    finish(target, group, scratch)
  }

  func normalizeSlice(
    _ target: StatisticsTarget, _ runs: Schedule.Runs, _ part: Int, _ source: UnsafeRawPointer,
    _ destination: UnsafeMutableRawPointer, _ scratch: Scratch, later: Int = 0
  ) {
    withSlice(runs, part) { unit, group, extent, block, sums in
      normalize(
        target, runs, unit, part % schedule.slices, group, extent, source, destination, block, sums,
        scratch, later: later)
    }
  }

  private func forwardRows(
    _ target: StatisticsTarget, _ count: Int, _ source: UnsafeRawPointer,
    _ destination: UnsafeMutableRawPointer?, _ scratch: Scratch, _ parallel: KernelTeam
  ) {
    let lanes = schedule.lanes
    let block = rows(scratch.block, lanes)
    if takesSums(target) {
      for lane in stride(from: 0, to: channels, by: 16) {
        let group = group(row: lane)
        keepPivots(target, group, source, lane, scratch)
        for channel in 0..<group.channels {
          block.put(group, lane, channel, Slot.mean, scratch.totals[3 * (lane + channel) + 2])
        }
      }
      parallel(schedule.slices) { slice in
        let sums = scratch.sums(slice)
        clearSums(sums, lanes)
        callRows(
          Step.statistics, code, schedule.rowRange(slice, count), source, source,
          UnsafeMutableRawPointer(mutating: source), scratch.block, scratch.state(slice), sums)
      }
    }
    let groups = lanes / 16
    parallel((groups + 15) / 16) { part in
      for index in part * 16..<min(part * 16 + 16, groups) {
        let lane = index * 16
        let group = group(row: lane)
        if takesSums(target) {
          for slice in 1..<max(1, schedule.slices) {
            addSums(scratch.sums(slice), lane, scratch.sums(0), lane, lanes)
          }
          let sums = scratch.sums(0) + lane * 8
          keepTotals(group, sums, lanes, scratch, repairs: areExact(target)) {
            sumCarefully(group, rows: count, source, $0, $1)
          }
          finish(target, group, scratch)
        }
        if destination != nil {
          for channel in 0..<group.channels {
            block.setForward(
              group, lane, channel, forwardValues(target, lane + channel, scratch))
          }
        }
      }
    }
    guard let destination else { return }
    backwards(schedule.slices, parallel) { slice in
      let range = schedule.rowRange(slice, count)
      if let rescue, rescue.count > 0 {
        for channel in 0..<channels {
          if let row = rescueRow(channel) { keep(source, row, stretch(channel, range)) }
        }
      }
      callRows(
        Step.forward, appliedCode, range, source, source, destination, scratch.block,
        notes(target, slice) ?? scratch.state(slice), scratch.sums(slice))
    }
  }

  /// What a channel's sums are taken around, with its first element at `first`: the middle one of its first,
  /// one in the middle and the last. The sums lose log2((mean - pivot)^2 / variance) of float64's 53 bits,
  /// which is much where the pivot is the one element far from all others. With given statistics their mean:
  /// the sums only say which channels are rescued.
  private func pivot(
    _ target: StatisticsTarget, _ source: UnsafeRawPointer, _ first: Int, _ channel: Int
  ) -> Double {
    if case .given(let saved, _) = target { return number(saved.mean, channel, default: 0) }
    let (middle, last) = schedule.samples
    let a = kernel.load(source, first)
    let b = kernel.load(source, first + middle)
    let c = kernel.load(source, first + last)
    let pivot = max(min(a, b), min(max(a, b), c))
    // The mean of elements of which one is infinite does not depend on which.
    return pivot.isFinite ? pivot : 0
  }

  /// The pivots of a group whose first element is at `first`, beside what its totals will be.
  private func keepPivots(
    _ target: StatisticsTarget, _ group: LaneGroup, _ source: UnsafeRawPointer, _ first: Int,
    _ scratch: Scratch
  ) {
    for local in 0..<group.channels {
      scratch.totals[3 * (group.first + local) + 2] = pivot(
        target, source, first + local, group.first + local)
    }
  }

  /// The sums of x around the pivot of each channel of a group, over a part of a unit.
  private func sumUnit(
    _ runs: Schedule.Runs, _ unit: Int, _ group: LaneGroup,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ source: UnsafeRawPointer,
    _ block: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer, later: Int,
    _ pivot: (Int) -> Double
  ) {
    let rows = rows(block, of: group)
    for channel in 0..<group.channels {
      rows.put(group, 0, channel, Slot.mean, pivot(channel))
    }
    callRuns(
      Step.statistics, appliedCode, runs, unit, extent, source, source,
      UnsafeMutableRawPointer(mutating: source), block, sums, starts: true, later: later)
  }

  /// The sums over a whole unit in float64, around the pivots in `block`.
  private func sumCarefully(
    _ runs: Schedule.Runs, _ unit: Int, _ source: UnsafeRawPointer,
    _ block: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer
  ) {
    callRuns(
      Step.carefulStatistics, appliedCode, runs, unit, (0..<runs.count, 0..<runs.length), source,
      source, UnsafeMutableRawPointer(mutating: source), block, sums, starts: true)
  }

  /// The same over a group of channels of all rows: runs of as many elements, a row apart.
  private func sumCarefully(
    _ group: LaneGroup, rows: Int, _ source: UnsafeRawPointer, _ block: UnsafeMutableRawPointer,
    _ sums: UnsafeMutableRawPointer
  ) {
    let start = source + group.first * bytes
    var call = abn_kernel_call(self, Step.carefulStatistics, code, block: block, sums: sums)
    call.take(start, start, UnsafeMutableRawPointer(mutating: start))
    call.lanes = 16
    call.starts = true
    call.count = rows
    call.stride = channels
    call.length = group.channels
    run(call)
  }

  /// z over a part of a unit; x of rescued channels is kept first.
  private func normalize(
    _ target: StatisticsTarget, _ runs: Schedule.Runs, _ unit: Int, _ slice: Int,
    _ group: LaneGroup, _ extent: (runs: Range<Int>, elements: Range<Int>),
    _ source: UnsafeRawPointer,
    _ destination: UnsafeMutableRawPointer, _ block: UnsafeMutableRawPointer,
    _ sums: UnsafeMutableRawPointer, _ scratch: Scratch, later: Int = 0
  ) {
    let rows = rows(block, of: group)
    for channel in 0..<group.channels {
      rows.setForward(group, 0, channel, forwardValues(target, group.first + channel, scratch))
      if let row = rescueRow(group.first + channel) {
        stretches(runs, unit, channel, extent) { keep(source, row, $0) }
      }
    }
    callRuns(
      Step.forward, appliedCode, runs, unit, extent, source, source, destination, block, sums,
      isReversed: true, later: later, state: notes(target, unit * schedule.slices + slice))
  }

  /// What the forward pass takes of a channel.
  @inline(__always) private func forwardValues(
    _ target: StatisticsTarget, _ channel: Int, _ scratch: Scratch
  ) -> ChannelValues {
    var values = forwardValues(channel)
    if keepsAside(target) { values.limit = scratch.totals[3 * channel + 2] }
    return values
  }

  /// Where a part of the work notes the elements that it keeps aside.
  private func notes(_ target: StatisticsTarget, _ part: Int) -> UnsafeMutableRawPointer? {
    keepsAside(target) ? rescue?.aside.words(part) : nil
  }

  /// Mean and variance from the sums around the pivot, and all that follows from them.
  private func finish(
    _ target: StatisticsTarget, _ group: LaneGroup, _ scratch: Scratch
  ) {
    let m = Double(count)
    for local in 0..<group.channels {
      let channel = group.first + local
      let pivot = scratch.totals[3 * channel + 2]
      let sum = scratch.totals[3 * channel]
      let square = scratch.totals[3 * channel + 1]
      let shift = sum / m
      let raw = (square - sum * shift) / m
      // float64's own end: elements whose squares are infinite, though their sum is not.
      let isBeyond = square == .infinity && sum.isFinite
      let variance = isBeyond ? .infinity : (raw < 0 ? 0 : raw)
      let (mean, remainder) = splitSum(pivot, shift)
      switch target {
      case .only(let statistics):
        kernel.setStatistic(statistics.mean, channel, mean)
        kernel.setStatistic(statistics.variance, channel, variance)
        kernel.setStatistic(statistics.meanRemainder, channel, remainder)
      case .train(let saved, let moving):
        setNumber(saved.mean, channel, mean)
        setNumber(saved.meanRemainder, channel, remainder)
        let inverse = 1 / (variance + kernel.epsilon).squareRoot()
        setNumber(saved.inverseDeviation, channel, inverse)
        if let moving {
          update(moving.mean, channel, pivot + shift, moving.momentum)
          update(moving.variance, channel, variance, moving.momentum)
        }
        // A variance that underflows is not that of a constant channel.
        let spread = variance == 0 && shift != 0 ? Double.leastNonzeroMagnitude : variance
        keepIfLost(channel, mean: 0, square: spread * inverse * inverse, scratch)
      case .given(let saved, _):
        // Around the given mean, which the pivot is.
        let inverse = number(saved.inverseDeviation, channel, default: 1)
        let spread = square / m * inverse * inverse
        keepIfLost(
          channel, mean: shift * inverse, square: spread.isNaN ? .infinity : max(0, spread),
          scratch)
      }
    }
  }

  /// Gives a channel a row of the rescue if z will not tell its x; `mean` and `square` are those of xhat. Else, in
  /// place of the pivot, which has done its work, the y below which single elements are kept aside.
  @inline(__always) private func keepIfLost(
    _ channel: Int, mean: Double, square: Double, _ scratch: Scratch
  ) {
    guard let rescue else { return }
    let slope = hasSlopes ? kernel.slope(parameters, channel) : alpha
    let spread = ChannelSpread(
      scale: number(parameters.scale, channel, default: 1),
      bias: number(parameters.bias, channel, default: 0), slope: slope, mean: mean, square: square)
    rescue.sizes[channel] = spread.size
    let limit = canKeepAside ? kernel.saturation(spread) : -.infinity
    let isLost = !usual.contain(spread, limit: limit) && kernel.mustRescue(spread, limit: limit)
    if isLost { rescue.take(channel) }
    if canKeepAside { scratch.totals[3 * channel + 2] = isLost ? -.infinity : limit }
  }

  /// Whether the sums are the statistics, and as good as those of two passes. With given statistics they only say
  /// what is rescued.
  private func areExact(_ target: StatisticsTarget) -> Bool {
    if case .given = target { return false }
    return true
  }

  /// Whether single elements are kept aside.
  private func keepsAside(_ target: StatisticsTarget) -> Bool {
    canKeepAside && rescue != nil && takesSums(target)
  }

  /// Whether sums of x are taken: always but with given statistics and nothing to rescue.
  private func takesSums(_ target: StatisticsTarget) -> Bool {
    if case .given = target { return rescue != nil && count > 0 }
    return true
  }

  private func update(
    _ base: UnsafeMutableRawPointer, _ channel: Int, _ new: Double, _ momentum: Double
  ) {
    let old = kernel.statistic(base, channel, default: 0)
    kernel.setStatistic(base, channel, old * momentum + new * (1 - momentum))
  }

  /// pivot + shift as a number of the parameters' type and the rest of it.
  private func splitSum(_ pivot: Double, _ shift: Double) -> (Double, Double) {
    let sum = pivot + shift
    let high = isDouble ? sum : Double(Float(sum))
    guard high.isFinite else { return (high, 0) }
    let rest = abs(pivot) >= abs(shift) ? (pivot - high) + shift : (shift - high) + pivot
    return (high, rest)
  }

  // MARK: sums

  func clearSums(_ sums: UnsafeMutableRawPointer, _ lanes: Int) {
    sums.initializeMemory(as: Double.self, repeating: 0, count: 3 * lanes)
  }

  func clear(_ block: UnsafeMutableRawPointer, _ lanes: Int) {
    block.initializeMemory(
      as: UInt8.self, repeating: 0, count: Slot.count * lanes * (isDouble ? 8 : 4))
  }

  /// Adds the 16 lanes from `lane` on of all three rows.
  func addSums(
    _ source: UnsafeRawPointer, _ sourceLane: Int, _ target: UnsafeMutableRawPointer,
    _ lane: Int, _ lanes: Int
  ) {
    for row in 0..<3 {
      let from = (source + (row * lanes + sourceLane) * 8)
      let to = (target + (row * lanes + lane) * 8)
      let sum = to.load(as: SIMD16<Double>.self) + from.load(as: SIMD16<Double>.self)
      to.storeBytes(of: sum, as: SIMD16<Double>.self)
    }
  }
}
