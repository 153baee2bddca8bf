import ABNKernelsBaseline

/// Which channels' sums are as good as those of two passes, and the second pass over those that are
/// not.
///
/// One pass sums squares around centres that it guesses from a few elements, chunk by chunk, in the
/// precision of the parameters, and moves them to the pivot in float64. Each rounding is relative
/// to those squares, Q in all, where two passes would have those around the mean, M2. So the
/// variance is as good as that of two passes to a factor of Q / M2: 1 + 1/8 on random data. Where
/// it is more than `mostOfChunks`, or something was too large or too small for the precision, a
/// second pass follows: in float64, around the mean.
extension ForwardPass {
  /// Most of Q / M2. Eight elements of which one is far from all others, in a chunk of 64, give
  /// 1.9.
  private static var mostOfChunks: Double { 2.5 }
  /// In float32 squares are rounded to 2^-149: a variance (and epsilon) above this loses nothing by
  /// it.
  private static var leastSquare: Double { 0x1p-120 }
  /// Most of the squares around the pivot, of M2: what is lost of float64 between chunks. Float32
  /// never feels 20 of its 53 bits.
  private var mostAroundPivot: Double { engine.isDouble ? 8 : 0x1p20 }

  /// The sums of x - pivot and its square, from those of all slices in their order (see
  /// `Step.statistics`).
  @inline(never) func total(_ unit: Int, _ numbers: Range<Int>, _ room: Room) {
    if engine.plan.isUniform { return totalOfOne(unit, room) }
    let row = engine.plan.lanes &* 8
    var first = numbers.lowerBound
    while first < numbers.upperBound {
      let sums = engine.sumOfSlices(unit, lane: first, room)
      let count = min(16, numbers.upperBound &- first)
      var poor: UInt16 = 0
      for local in 0..<count {
        let at = 3 &* (unit &* engine.plan.width &+ first &+ local)
        let sum = engine.total(sums, local)
        let chunks = engine.total(sums + 2 &* row, local)
        let square = engine.total(sums + row, local) + chunks
        totals[at] = sum
        totals[at &+ 1] = square
        // With given statistics the sums need not be that good.
        if !isGiven && !isGood(sum, square, chunks) { poor |= 1 << UInt16(local) }
      }
      if poor != 0 { sumAgain(poor, unit, first..<first + count) }
      first &+= 16
    }
  }

  /// The same of a channel in all lanes.
  @inline(__always) private func totalOfOne(_ channel: Int, _ room: Room) {
    let sums = engine.sumOfSlices(channel, lane: 0, room)
    let sum = Engine.total(sums)
    let chunks = Engine.total(sums + 2 * 16 * 8)
    let square = Engine.total(sums + 16 * 8) + chunks
    totals[3 &* channel] = sum
    totals[3 &* channel &+ 1] = square
    if !isGiven && !isGood(sum, square, chunks) { sumAgain(1, channel, 0..<1) }
  }

  @inline(__always) private func isGood(_ sum: Double, _ square: Double, _ chunks: Double) -> Bool {
    let m = engine.m
    // m M2: a division for each of thousands of small channels would be felt.
    let around = m * square - sum * sum
    // False where one of them is NaN.
    return m * chunks <= Self.mostOfChunks * around && m * square <= mostAroundPivot * around
      && square < .infinity
      && (engine.isDouble || around >= (Self.leastSquare - engine.kernel.epsilon) * m * m)
  }

  /// Sums some channels of a unit anew around their mean; only these are taken from there, so that
  /// a NaN in one changes nothing in its neighbours. Twice if need be: after an overflow the first
  /// time finds the mean, the second one the variance.
  @inline(never) private func sumAgain(
    _ channels: UInt16, _ unit: Int, _ numbers: Range<Int>
  ) {
    // The channels of a block are its lanes, those of rows places in them.
    let lane = engine.plan.isRows ? numbers.lowerBound : 0
    let start = source + (unit * engine.plan.unitStride + lane) * engine.bytes
    let totals = totals + 3 * (unit * engine.plan.width + numbers.lowerBound)
    let plan = engine.plan.alone(numbers.count, engine.kernel.element)
    Room.onStack(plan, isDouble: engine.isDouble) { room in
      let slots = room.slots(0..<1)
      var call = engine.call(KernelStep(Step.carefulStatistics, engine.appliedCode, start))
      (call.lanes, call.is_rows) = (plan.parameterLanes, false)
      var poor = channels
      var turns = 2
      while poor != 0 && turns > 0 {
        for local in 0..<numbers.count where poor & 1 << UInt16(local) != 0 {
          let at = 3 * local
          let mean = totals[at + 2] + totals[at] / engine.m
          let pivot = engine.isDouble ? mean : Double(Float(mean))
          if pivot.isFinite { totals[at + 2] = pivot }
          slots.put(local, Slot.mean, totals[at + 2])
        }
        engine.go(call, Window(unit: 0, slice: 0), room)
        for local in 0..<numbers.count where poor & 1 << UInt16(local) != 0 {
          let at = 3 * local
          let sum = engine.total(room.allSums, local)
          let square = engine.total(room.allSums + 128, local)
          totals[at] = sum
          totals[at + 1] = square
          // What is not finite stays so.
          if !(square > mostAroundPivot * (square - sum * (sum / engine.m))) || !square.isFinite {
            poor &= ~(1 << UInt16(local))
          }
        }
        turns -= 1
      }
    }
  }
}
