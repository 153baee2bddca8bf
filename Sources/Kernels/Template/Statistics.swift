import CKernels

/// Sums of x - pivot and its square. Within a chunk, at most 64 vectors (`chunkVectors`) and the
/// ends of their runs, they are taken around a centre, in the precision of parameters, and moved to
/// the pivot in float64. The centre is the mean of eight of the chunk's vectors, its first or those
/// at the same place of eight runs; of four, or one, where there are fewer. Equal numbers have that
/// number as their mean, so that a constant's distances are 0.
///
/// Three sums: of x - pivot; what moving adds to the squares; the squares as they were summed. The
/// squares around the pivot are the last two together. The last one tells what has been lost: each
/// of its terms was rounded to that precision, so that where it is a few times the squares around
/// the mean, some bits are gone, and where a square was no number of that precision, all. The
/// driver compares the two for each channel, and goes over those channels once more with
/// `CarefulStatistics`.
struct Statistics<E: Element>: LaneSum {
  typealias Sum = E.V
  static var hasTwoAccumulators: Bool { true }
  static var hasThird: Bool { true }
  var centre = E.V(0)

  @inline(__always) init(_ call: Call, _ lane: Int) {}

  @inline(__always) var neutral: E.V { centre }

  @inline(__always) mutating func begin(_ call: Call, _ chunk: Chunk) {
    if chunk.count < 16 {
      centre = E.loadTail(call.a, chunk.index, chunk.count)
      return
    }
    /// An eighth of the sum of two vectors.
    func eighths(_ number: Int) -> E.V {
      let index = chunk.index &+ number &* chunk.step
      let eighth = E.V(0.125)
      let second = E.load(call.a, index &+ chunk.step)
      return E.V.fma(E.load(call.a, index) * eighth, second, eighth)
    }
    if chunk.vectors < 4 {
      centre = E.load(call.a, chunk.index)
    } else {
      let some = eighths(0) + eighths(2)
      centre = some + (chunk.vectors < 8 ? some : eighths(4) + eighths(6))
    }
  }

  @inline(__always) func add(_ a: E.V, _ b: E.V, to sums: inout Sums<E.V>) {
    let d = a - centre
    sums.first = sums.first + d
    sums.second = E.V.fma(sums.second, d, d)
  }

  @inline(__always)
  func totals(_ call: Call, _ lane: Int, _ sums: Sums<E.V>, _ count: E.V) -> Sums<F64> {
    let pivot: E.V = call.parameter(Slot.mean, lane)
    let shift = centre.wide - pivot.wide
    let sum = sums.first.wide
    let moved = F64.fma(sum, count.wide, shift)
    return Sums(first: moved, second: shift * (sum + moved), third: sums.second.wide)
  }
}

/// The same two sums in float64 from the first step on, around a pivot that is the mean as near as
/// it is known. For float32 no element is too large or too small to be squared in it. Only for
/// runs: channels of rows come as runs of 16 elements.
struct CarefulStatistics<E: Element>: LaneSum {
  typealias Sum = F64
  let pivot: E.V

  @inline(__always) init(_ call: Call, _ lane: Int) { pivot = call.parameter(Slot.mean, lane) }

  @inline(__always) var neutral: E.V { pivot }

  @inline(__always) func add(_ a: E.V, _ b: E.V, to sums: inout Sums<F64>) {
    let d = a.wide - pivot.wide
    sums.first = sums.first + d
    sums.second = F64.fma(sums.second, d, d)
  }

  @inline(__always)
  func totals(_ call: Call, _ lane: Int, _ sums: Sums<F64>, _ count: E.V) -> Sums<F64> { sums }
}
