import ABNKernelsBaseline

/// A backward pass: what is kept of the forward pass, dz, and where dx and the gradients go.
struct BackwardCall {
  var mode: ABNStatisticsMode
  var kept: UnsafeRawPointer
  var keptIsInput: Bool
  var gradient: UnsafeRawPointer
  var destination: UnsafeMutableRawPointer
  var gradients: ABNGradients

  init(_ pass: ABNBackward) {
    mode = pass.mode
    switch pass.kept {
    case .output(let output): (kept, keptIsInput) = (output, false)
    case .input(let input): (kept, keptIsInput) = (input, true)
    }
    gradient = pass.gradient
    destination = pass.destination
    gradients = pass.gradients
  }
}

extension Engine {
  /// dx, and the gradients of scale, bias and slopes.
  func backward(
    _ pass: ABNBackward, _ workspace: ABNWorkspace
  ) {
    let call = BackwardCall(pass)
    let parallel = workspace.team
    let scratch = Scratch(workspace.scratch, kernel, schedule)
    switch schedule.form {
    case .runs(let runs):
      if schedule.slices == 1 {
        backwardUnits(call, runs, scratch, parallel)
      } else if schedule.isPhased {
        let passes = BackwardPasses(engine: self, call: call, runs: runs, scratch: scratch)
        inPhases(runs, tensors: 2, passes, parallel)
      } else {
        backwardSlices(call, runs, scratch, parallel)
      }
    case .rows(let count): backwardRows(call, count, scratch, parallel)
    }
    if let aside { giveAside(aside.dx, call.destination, parallel) }
    zeroPadding(call.destination)
    guard hasSlopes, parameters.slopeCount == 1, call.gradients.slopes != nil else { return }
    var total = 0.0
    for channel in 0..<channels { total += scratch.totals[3 * channel + 2] }
    setNumber(call.gradients.slopes, 0, total)
  }

  private func backwardUnits(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ scratch: Scratch, _ parallel: KernelTeam
  ) {
    let whole = (runs: 0..<runs.count, elements: 0..<runs.length)
    let step = schedule.unitsPerPart
    let later = later(runs, tensors: 2, parts: parallel.count, step: step)
    parallel(schedule.unitParts(runs.units)) { part in
      StackBlock.with(isUniform: runs.width == 1) { block, sums in
        for unit in schedule.units(part, runs.units) {
          let group = group(runs, unit)
          let isDirect = reduce(call, runs, unit, group, whole, block, sums)
          finish(call, group, sums, 16, scratch)
          apply(
            call, runs, unit, group, whole, block, sums, scratch, isFresh: false,
            isDirect: isDirect, later: unit + step < runs.units ? later : 0)
        }
      }
    }
  }

  private func backwardSlices(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ scratch: Scratch, _ parallel: KernelTeam
  ) {
    let parts = runs.units * schedule.slices
    parallel(parts) { reduceSlice(call, runs, $0, scratch) }
    parallel(runs.units) { finishUnit(call, runs, $0, scratch) }
    backwards(parts, parallel) { applySlice(call, runs, $0, scratch) }
  }

  func reduceSlice(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ part: Int, _ scratch: Scratch
  ) {
    withSlice(runs, part) { unit, group, extent, block, _ in
      _ = reduce(call, runs, unit, group, extent, block, scratch.sums(part))
    }
  }

  func finishUnit(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ unit: Int, _ scratch: Scratch
  ) {
    finish(call, group(runs, unit), sumOfSlices(unit, scratch), 16, scratch)
  }

  func applySlice(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ part: Int, _ scratch: Scratch, later: Int = 0
  ) {
    withSlice(runs, part) { unit, group, extent, block, sums in
      let isDirect = mayBeDirect(call) && isDirect(group)
      apply(
        call, runs, unit, group, extent, block, sums, scratch, isFresh: true, isDirect: isDirect,
        later: later)
    }
  }

  private func backwardRows(
    _ call: BackwardCall, _ count: Int, _ scratch: Scratch, _ parallel: KernelTeam
  ) {
    let lanes = schedule.lanes
    let rows = rows(scratch.block, lanes)
    let groups = lanes / 16
    clear(scratch.block, lanes)
    for channel in 0..<channels {
      setReduce(call, rows, group(row: 0), channel, 0, channel)
    }
    let isDirect = mayBeDirect(call) && (0..<channels).allSatisfy(isDirect)
    prepare(scratch.block, lanes)
    let step = isDirect ? Step.reduceDirect : reduceStep(call)
    parallel(schedule.slices) { slice in
      let sums = scratch.sums(slice)
      clearSums(sums, lanes)
      let range = schedule.rowRange(slice, count)
      callRows(
        step, code, range, call.kept, call.gradient, call.destination, scratch.block,
        scratch.state(slice), sums)
      forRescued { channel, row, block, own in
        reduceRescued(row, call.gradient, stretch(channel, range), block, own)
        setTotals(
          group(row: channel / 16 * 16), channel % 16, own, sums + channel / 16 * 128, lanes)
      }
    }
    parallel((groups + 15) / 16) { part in
      for index in part * 16..<min(part * 16 + 16, groups) {
        let lane = index * 16
        for slice in 1..<max(1, schedule.slices) {
          addSums(scratch.sums(slice), lane, scratch.sums(0), lane, lanes)
        }
        let group = group(row: lane)
        finish(call, group, scratch.sums(0) + lane * 8, lanes, scratch)
        for channel in 0..<group.channels {
          rows.setGradient(group, lane, channel, backwardValues(call, scratch, lane + channel))
        }
      }
    }
    let areDirect = isDirect && areDirect(rows)
    let applyStep = areDirect ? Step.applyDirect : reduceStep(call) + 1
    backwards(schedule.slices, parallel) { slice in
      let range = schedule.rowRange(slice, count)
      applyAllRescued(call, scratch) { channel, row, block in
        applyRescued(row, call.gradient, call.destination, stretch(channel, range), block)
      }
      callRows(
        applyStep, code, range, call.kept, call.gradient, call.destination, scratch.block,
        scratch.state(slice), scratch.sums(slice))
    }
  }

  /// `Step.reduce...`; the matching apply follows it.
  private func reduceStep(_ call: BackwardCall) -> Int {
    call.keptIsInput
      ? Step.reduceInput : (isInvertible ? Step.reduce : Step.reduceStored)
  }

  /// Writes what the sums of a channel are taken with.
  @inline(__always) private func setReduce(
    _ call: BackwardCall, _ rows: ParameterRows, _ group: LaneGroup, _ lane: Int, _ local: Int,
    _ channel: Int
  ) {
    if call.keptIsInput {
      rows.set(group, lane, local, values(channel))
    } else {
      rows.setInverse(group, lane, local, values(channel))
    }
  }

  /// Whether the sums were taken without y - bias.
  private func reduce(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ unit: Int, _ group: LaneGroup,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ block: UnsafeMutableRawPointer,
    _ sums: UnsafeMutableRawPointer
  ) -> Bool {
    let rows = rows(block, of: group)
    if group.copies == 16, let row = rescueRow(group.first) {
      clearSums(sums, 16)
      rows.set(group, 0, 0, values(group.first))
      stretches(runs, unit, 0, extent) { reduceRescued(row, call.gradient, $0, block, sums) }
      return false
    }
    if group.copies != 16 { clear(block, 16) }
    for channel in 0..<group.channels {
      setReduce(call, rows, group, 0, channel, group.first + channel)
    }
    let isDirect = mayBeDirect(call) && isDirect(group)
    if !isDirect { prepare(block, group.parameterLanes) }
    callRuns(
      isDirect ? Step.reduceDirect : reduceStep(call), code, runs, unit, extent, call.kept,
      call.gradient, call.destination, block,
      sums, starts: true)
    if hasRescued { reduceRescued(call, runs, unit, group, extent, sums) }
    return isDirect
  }

  private func apply(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ unit: Int, _ group: LaneGroup,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ block: UnsafeMutableRawPointer,
    _ sums: UnsafeMutableRawPointer, _ scratch: Scratch, isFresh: Bool,
    isDirect: Bool, later: Int = 0
  ) {
    let rows = rows(block, of: group)
    if hasRescued {
      for channel in 0..<group.channels {
        applyRescued(call, runs, unit, group, extent, channel, scratch)
      }
      // No more of it is left to do.
      if group.copies == 16, rescueRow(group.first) != nil { return }
    }
    var staysDirect = isDirect
    for channel in 0..<group.channels {
      let values = backwardValues(call, scratch, group.first + channel)
      if isFresh { setReduce(call, rows, group, 0, channel, group.first + channel) }
      rows.setGradient(group, 0, channel, values)
      staysDirect = staysDirect && Self.isDirect(factor: values.distanceFactor)
    }
    // Direct sums have not prepared it.
    if !staysDirect && (isFresh || isDirect) { prepare(block, group.parameterLanes) }
    callRuns(
      staysDirect ? Step.applyDirect : reduceStep(call) + 1, code, runs, unit, extent, call.kept,
      call.gradient, call.destination,
      block, sums, isReversed: true, later: later)
  }

  /// The sums of the rescued channels of a group over a part of a unit, in place of those that are there.
  @inline(never) private func reduceRescued(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ unit: Int, _ group: LaneGroup,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ sums: UnsafeMutableRawPointer
  ) {
    for channel in 0..<group.channels {
      forRescued(group.first + channel) { row, own, ownSums in
        stretches(runs, unit, channel, extent) {
          reduceRescued(row, call.gradient, $0, own, ownSums)
        }
        setTotals(group, channel, ownSums, sums, 16)
      }
    }
  }

  /// dx of a channel of a group over a part of a unit, from its kept x if it is rescued.
  @inline(never) private func applyRescued(
    _ call: BackwardCall, _ runs: Schedule.Runs, _ unit: Int, _ group: LaneGroup,
    _ extent: (runs: Range<Int>, elements: Range<Int>), _ local: Int, _ scratch: Scratch
  ) {
    let channel = group.first + local
    guard let row = rescueRow(channel) else { return }
    StackBlock.with(isUniform: true) { own, _ in
      var values = backwardValues(call, scratch, channel)
      values.keep = 0
      setAlone(own, values)
      stretches(runs, unit, local, extent) {
        applyRescued(row, call.gradient, call.destination, $0, own)
      }
    }
  }

  /// Calls `body` with a rescued channel's row and parameter and sum blocks of its own.
  private func forRescued(
    _ channel: Int,
    _ body: (UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void
  ) {
    guard let row = rescueRow(channel) else { return }
    StackBlock.with(isUniform: true) { block, sums in
      clearSums(sums, 16)
      setAlone(block, values(channel))
      body(row, block, sums)
    }
  }

  private func forRescued(
    _ body: (
      Int, UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer
    ) -> Void
  ) {
    guard hasRescued else { return }
    for channel in 0..<channels {
      forRescued(channel) { body(channel, $0, $1, $2) }
    }
  }

  private func applyAllRescued(
    _ call: BackwardCall, _ scratch: Scratch,
    _ body: (Int, UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void
  ) {
    guard hasRescued else { return }
    for channel in 0..<channels {
      guard let row = rescueRow(channel) else { continue }
      StackBlock.with(isUniform: true) { block, _ in
        var values = backwardValues(call, scratch, channel)
        values.keep = 0
        setAlone(block, values)
        body(channel, row, block)
      }
    }
  }

  /// The totals of one channel, summed in all lanes of `own`, into the lanes of its group.
  private func setTotals(
    _ group: LaneGroup, _ channel: Int, _ own: UnsafeRawPointer, _ sums: UnsafeMutableRawPointer,
    _ lanes: Int
  ) {
    let alone = LaneGroup.alone(0)
    for row in 0..<3 {
      group.setTotal(sums + row * lanes * 8, channel, alone.total(own + row * 128, 0))
    }
  }

  /// The parameters of one channel in a block of its own.
  func setAlone(_ block: UnsafeMutableRawPointer, _ values: ChannelValues) {
    let group = LaneGroup.alone(0)
    rows(block, of: group).set(group, 0, 0, values)
  }

  /// The gradients of a group's parameters from its sums; `totals` keeps dbias, dscale and the sum for
  /// the slope.
  private func finish(
    _ call: BackwardCall, _ group: LaneGroup, _ sums: UnsafeRawPointer, _ lanes: Int,
    _ scratch: Scratch
  ) {
    for local in 0..<group.channels {
      let channel = group.first + local
      var dbias = group.total(sums, local)
      var product = group.total(sums + lanes * 8, local)
      let hasAside = aside?.range(channel).isEmpty == false
      if hasAside {
        let more = asideSums(call, channel)
        dbias += more.dy
        product += more.product
      }
      let dscale = scaleGradient(call, product, channel)
      scratch.totals[3 * channel] = dbias
      scratch.totals[3 * channel + 1] = dscale
      setNumber(call.gradients.bias, channel, dbias)
      setNumber(call.gradients.scale, channel, dscale)
      if hasAside {
        applyAside(call, channel, backwardValues(call, scratch, channel, isInput: true))
      }
      guard hasSlopes else { continue }
      let dslope = group.total(sums + 2 * lanes * 8, local)
      scratch.totals[3 * channel + 2] = dslope
      if parameters.slopeCount != 1 { setNumber(call.gradients.slopes, channel, dslope) }
    }
  }

  private func usesInput(_ call: BackwardCall, _ channel: Int) -> Bool {
    call.keptIsInput || rescueRow(channel) != nil
  }

  /// sum(dy * xhat): the kernels sum dy * (x - mean) or dy * (y - bias).
  @inline(__always) private func scaleGradient(
    _ call: BackwardCall, _ product: Double, _ channel: Int
  ) -> Double {
    guard usesInput(call, channel), let saved else {
      return product / number(parameters.scale, channel, default: 1)
    }
    let inverse = number(saved.inverseDeviation, channel, default: 1)
    return product * relative(inverse, unit(inverse, number(saved.mean, channel, default: 0)))
  }

  /// dx = gain * dy - gain * dbias / m - gain * xhat * dscale / m, with xhat * gain being
  /// (y - bias) * inverse, or (x - mean) * inverse * gain, where x - mean is taken times the channel's unit.
  @inline(__always) private func backwardValues(
    _ call: BackwardCall, _ scratch: Scratch, _ channel: Int, isInput: Bool = false
  ) -> ChannelValues {
    var values = values(channel)
    values.dyFactor = values.gain
    guard call.mode == .batch, let saved else { return values }
    let m = Double(count)
    let inverse = number(saved.inverseDeviation, channel, default: 1)
    let dscale = scratch.totals[3 * channel + 1]
    values.offset = -values.gain * (scratch.totals[3 * channel] / m)
    values.distanceFactor =
      -(isInput || usesInput(call, channel)
      ? values.gain * relative(inverse, values.unit) : inverse) * (dscale / m)
    return values
  }
}
