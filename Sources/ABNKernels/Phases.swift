/// Two passes over the slices of units and what comes between. Parts are slices, numbered unit by unit.
protocol UnitPasses {
  /// `later`: see `Engine.later`.
  func first(_ part: Int, later: Int)
  func between(_ unit: Int)
  func second(_ part: Int, later: Int)
}

extension Engine {
  /// The passes over units that are too large for one core's cache, unit by unit, the second one from the
  /// last slice to the first.
  ///
  /// With a known number of threads (`KernelTeam.count`) all of them work on the same unit, a share each
  /// that stays in their own caches until its second pass; what a thread does between two meetings is the
  /// second pass over its share of one unit and the first over that of the next. Otherwise, and if
  /// `tensors` tensors of a unit fit one core's cache, or those of a unit for each thread a shared one from which
  /// a second pass reads nearly as fast, a unit is one part of the work. The results are
  /// the same bits, as the slices are.
  func inPhases<P: UnitPasses>(
    _ runs: Schedule.Runs, tensors: Int, _ passes: P, _ parallel: KernelTeam
  ) {
    let units = runs.units
    let slices = schedule.slices
    let threads = min(parallel.count, units * slices)
    let later = later(runs, tensors: tensors, parts: threads, step: 1)
    if threads <= 1 || later != 0
      || tensors * runs.count * runs.length * bytes <= kernel.caches.coreBytes
    {
      parallel(units) { unit in
        let parts = unit * slices..<(unit + 1) * slices
        let later = unit + 1 < units ? later : 0
        for part in parts { passes.first(part, later: later) }
        passes.between(unit)
        for part in parts.reversed() { passes.second(part, later: later) }
      }
      return
    }
    // Units that are worked on at once: as few as give every thread the same number of slices.
    var window = 1
    while window * slices % threads != 0 { window += 1 }
    /// The slices of the units `start` ..< `start` + `window` that a thread has.
    func own(_ start: Int, _ thread: Int) -> Range<Int> {
      let share = share(thread, of: threads, in: min(window, units - start) * slices)
      return start * slices + share.lowerBound..<start * slices + share.upperBound
    }
    let next = self.later(runs, tensors: tensors, parts: 1, step: window)
    var start = 0
    while start - window < units {
      parallel(threads) { thread in
        if start > 0 {
          // Only of as many units is this thread's share the same part.
          let later = start + window <= units ? next : 0
          for part in own(start - window, thread).reversed() { passes.second(part, later: later) }
        }
        if start < units {
          let later = start + 2 * window <= units ? next : 0
          for part in own(start, thread) { passes.first(part, later: later) }
        }
      }
      for unit in start..<max(start, min(start + window, units)) { passes.between(unit) }
      start += window
    }
  }

  /// Calls `body` for part `part` of units in slices: with its unit and group, what it covers, and room for
  /// parameters and sums.
  @inline(__always) func withSlice(
    _ runs: Schedule.Runs, _ part: Int,
    _ body: (
      _ unit: Int, _ group: LaneGroup, _ extent: (runs: Range<Int>, elements: Range<Int>),
      _ block: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer
    ) -> Void
  ) {
    let unit = part / schedule.slices
    StackBlock.with(isUniform: runs.width == 1) { block, sums in
      body(unit, group(runs, unit), schedule.extent(runs, part % schedule.slices), block, sums)
    }
  }

  /// The sums of all slices of a unit, in their order, where those of its first slice were.
  func sumOfSlices(_ unit: Int, _ scratch: Scratch) -> UnsafeMutableRawPointer {
    let sums = scratch.sums(unit * schedule.slices)
    for slice in 1..<schedule.slices {
      addSums(scratch.sums(unit * schedule.slices + slice), 0, sums, 0, 16)
    }
    return sums
  }
}

/// Statistics, what follows from them, z.
struct ForwardPasses: UnitPasses {
  var engine: Engine
  var target: StatisticsTarget
  var runs: Schedule.Runs
  var source: UnsafeRawPointer
  var destination: UnsafeMutableRawPointer
  var scratch: Scratch

  func first(_ part: Int, later: Int) {
    engine.sumSlice(target, runs, part, source, scratch, later: later)
  }
  func between(_ unit: Int) { engine.finishUnit(target, runs, unit, source, scratch) }
  func second(_ part: Int, later: Int) {
    engine.normalizeSlice(target, runs, part, source, destination, scratch, later: later)
  }
}

/// Sums, the gradients that follow from them, dx.
struct BackwardPasses: UnitPasses {
  var engine: Engine
  var call: BackwardCall
  var runs: Schedule.Runs
  var scratch: Scratch

  /// Its own two tensors leave no room for asking.
  func first(_ part: Int, later: Int) { engine.reduceSlice(call, runs, part, scratch) }
  func between(_ unit: Int) { engine.finishUnit(call, runs, unit, scratch) }
  func second(_ part: Int, later: Int) {
    engine.applySlice(call, runs, part, scratch, later: later)
  }
}
