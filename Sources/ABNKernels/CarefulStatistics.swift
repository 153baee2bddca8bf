import ABNKernelsBaseline

/// Which channels' sums are as good as those of two passes, and the second pass over those that are not.
///
/// One pass sums squares around centres that it guesses from a few elements, chunk by chunk, in the precision of the
/// parameters, and moves them to the pivot in float64. Each rounding is relative to those squares, Q in all, where two
/// passes would have those around the mean, M2. So the variance is as good as that of two passes to a factor of
/// Q / M2: 1 + 1/8 on random data. Where it is more than `mostOfChunks`, or something was too large or too
/// small for the precision, a second pass follows: in float64, around the mean.
extension Engine {
  /// Most of Q / M2. Eight elements of which one is far from all others, in a chunk of 64, give 1.9.
  private static let mostOfChunks = 2.5
  /// Most of the squares around the pivot, of M2: what is lost of float64 between chunks. Float32 never feels
  /// 20 of its 53 bits.
  private static let mostAroundPivot = (float64: 8.0, float32: 0x1p20)
  /// In float32 squares are rounded to 2^-149: a variance (and epsilon) above this loses nothing by it.
  private static let leastSquare = 0x1p-120

  /// Puts the sums of a group's channels, which `sums` has in rows of `lanes` (see `Step.statistics`), into the
  /// totals: of x - pivot and its square. `again` takes them anew around the pivots in the parameters that it
  /// is given (`Step.carefulStatistics`), where `repairs` says so; only the channels that need it
  /// are taken from there, so that a NaN
  /// in one changes nothing in its neighbours.
  @inline(__always) func keepTotals(
    _ group: LaneGroup, _ sums: UnsafeRawPointer, _ lanes: Int, _ scratch: Scratch, repairs: Bool,
    again: (_ parameters: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer) -> Void
  ) {
    var poor: UInt16 = 0
    for local in 0..<group.channels {
      let at = 3 * (group.first + local)
      let sum = group.total(sums, local)
      let chunks = group.total(sums + 2 * lanes * 8, local)
      let square = group.total(sums + lanes * 8, local) + chunks
      scratch.totals[at] = sum
      scratch.totals[at + 1] = square
      if repairs && !isGood(sum, square, chunks) { poor |= 1 << UInt16(local) }
    }
    if poor != 0 { sumAgain(poor, group, scratch, again) }
  }

  @inline(__always) private func isGood(_ sum: Double, _ square: Double, _ chunks: Double) -> Bool {
    let m = Double(count)
    // m M2: a division for each of thousands of small channels would be felt.
    let around = m * square - sum * sum
    let most = isDouble ? Self.mostAroundPivot.float64 : Self.mostAroundPivot.float32
    // False where one of them is NaN.
    return m * chunks <= Self.mostOfChunks * around && m * square <= most * around
      && square < .infinity
      && (isDouble || around >= (Self.leastSquare - kernel.epsilon) * m * m)
  }

  /// Twice if need be: after an overflow the first time finds the mean, the second one the variance.
  @inline(never) private func sumAgain(
    _ channels: UInt16, _ group: LaneGroup, _ scratch: Scratch,
    _ again: (UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void
  ) {
    let most = isDouble ? Self.mostAroundPivot.float64 : Self.mostAroundPivot.float32
    StackBlock.with(isUniform: group.copies == 16) { block, sums in
      let rows = rows(block, of: group)
      var poor = channels
      var turns = 2
      while poor != 0 && turns > 0 {
        for local in 0..<group.channels where poor & 1 << UInt16(local) != 0 {
          let at = 3 * (group.first + local)
          let mean = scratch.totals[at + 2] + scratch.totals[at] / Double(count)
          let pivot = isDouble ? mean : Double(Float(mean))
          if pivot.isFinite { scratch.totals[at + 2] = pivot }
          rows.put(group, 0, local, Slot.mean, scratch.totals[at + 2])
        }
        again(block, sums)
        for local in 0..<group.channels where poor & 1 << UInt16(local) != 0 {
          let at = 3 * (group.first + local)
          let sum = group.total(sums, local)
          let square = group.total(sums + 128, local)
          scratch.totals[at] = sum
          scratch.totals[at + 1] = square
          // What is not finite stays so.
          if !(square > most * (square - sum * (sum / Double(count)))) || !square.isFinite {
            poor &= ~(1 << UInt16(local))
          }
        }
        turns -= 1
      }
    }
  }
}
