/// Sums of x - pivot and its square. Within a chunk, at most 64 vectors (`chunkVectors`) and the ends of their runs,
/// they are taken around a centre, in the precision of parameters, and moved to the pivot in float64. The centre is
/// the mean of eight of the chunk's vectors, its first or those at the same place of eight runs; of four, or one,
/// where there are fewer. Equal numbers have that number as their mean, so that a constant's distances are 0.
///
/// Three sums: of x - pivot; what moving adds to the squares; the squares as they were summed. The squares
/// around the pivot are the last two together. The last one tells what has been lost: each of its terms was rounded
/// to that precision, so that where it is a few times the squares around the mean, some bits are gone, and
/// where a square was no number of that precision, all. `Engine` compares the two for each channel, and goes over
/// those channels once more with `CarefulStatisticsOperation`.
struct StatisticsOperation<E: Element>: LaneOperation {
  var centre = E.V(0)
  var first = E.V(0)
  var second = E.V(0)
  var otherFirst = E.V(0)
  var otherSecond = E.V(0)
  /// Elements beside the vectors, from the ends of runs.
  var rest = E.V(0)

  @inline(__always) init(_ call: Call, _ lane: Int) {}

  @inline(__always) mutating func begin(
    _ call: Call, _ index: Int, _ step: Int, _ available: Int, _ count: Int
  ) {
    first = E.V(0)
    second = E.V(0)
    otherFirst = E.V(0)
    otherSecond = E.V(0)
    rest = E.V(0)
    if count < 16 {
      centre = E.loadTail(call.a, index, count)
    } else if available < 4 {
      centre = E.load(call.a, index)
    } else {
      let some = Self.eighths(call, index, step) + Self.eighths(call, index &+ 2 &* step, step)
      if available < 8 {
        centre = some + some
      } else {
        let next = index &+ 4 &* step
        centre =
          some + (Self.eighths(call, next, step) + Self.eighths(call, next &+ 2 &* step, step))
      }
    }
  }

  /// An eighth of two vectors' sum.
  @inline(__always) private static func eighths(_ call: Call, _ index: Int, _ step: Int) -> E.V {
    let eighth = E.V(0.125)
    return E.V.fma(E.load(call.a, index) * eighth, E.load(call.a, index &+ step), eighth)
  }

  @inline(__always) mutating func resume(_ call: Call, _ lane: Int) {
    centre = E.V.load(call.state, lane)
    first = E.V.load(call.state, call.lanes &+ lane)
    second = E.V.load(call.state, 2 &* call.lanes &+ lane)
  }

  @inline(__always) func suspend(_ call: Call, _ lane: Int) {
    centre.store(call.state, lane)
    (first + otherFirst).store(call.state, call.lanes &+ lane)
    (second + otherSecond).store(call.state, 2 &* call.lanes &+ lane)
  }

  @inline(__always) static func laterPart(_ call: Call, of count: Int) -> Range<Int> {
    Range(uncheckedBounds: (0, call.sharesLater(E.self) ? count &>> 1 : 0))
  }

  static var hasPairs: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func pair(_ call: Call, _ index: Int, _ step: Int) {
    addBoth((E.load(call.a, index), E.load(call.a, index &+ step)))
  }

  static var hasTwins: Bool { @inline(__always) get { E.hasTwins } }
  static var hasNeighbours: Bool { @inline(__always) get { true } }

  @inline(__always) mutating func twin(_ call: Call, _ index: Int) {
    addBoth(E.loadTwin(call.a, index))
  }

  @inline(__always) mutating func addBoth(_ x: (E.V, E.V)) {
    add(x.0)
    let d = x.1 - centre
    otherFirst = otherFirst + d
    otherSecond = E.V.fma(otherSecond, d, d)
  }

  @inline(__always) mutating func add(_ x: E.V) {
    let d = x - centre
    first = first + d
    second = E.V.fma(second, d, d)
  }

  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    add(E.load(call.a, index))
  }

  @inline(__always) mutating func partial(_ call: Call, _ index: Int, _ count: Int) {
    add(E.loadTail(call.a, index, count))
  }

  /// Straight to the pivot, in float64: runs of less than a vector have no centre.
  @inline(__always) mutating func tail(_ call: Call, _ index: Int, _ count: Int) {
    let x = E.loadTail(call.a, index, count)
    let pivot: E.V = call.parameter(Slot.mean, 0)
    let distance = F64.choose(F64(Double(count)) > F64.lanes, x.wide - pivot.wide, F64(0))
    call.add(0, 0, distance)
    call.add(1, 0, distance * distance)
  }

  static var nothing: Void { @inline(__always) get { () } }
  @inline(__always) func hold(_ call: Call, _ index: Int) {}

  /// Around the centre of the chunk that the vectors before it are of.
  @inline(__always) mutating func release(
    _ call: Call, _ held: Void, _ index: Int, _ count: Int
  ) {
    let valid = E.V.lanes > E.V(Double(15 &- count))
    let d = E.V.choose(valid, E.load(call.a, index) - centre, E.V(0))
    first = first + d
    second = E.V.fma(second, d, d)
    rest = rest + E.V.choose(valid, E.V(1), E.V(0))
  }

  @inline(__always) mutating func fold(
    _ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool
  ) {
    let pivot: E.V = call.parameter(Slot.mean, lane)
    let shift = centre.wide - pivot.wide
    let count = (E.V(Double(vectors)) + rest).wide
    let sum = (first + otherFirst).wide
    let moved = F64.fma(sum, count, shift)
    call.add(0, lane, moved, starts: starts)
    call.add(1, lane, shift * (sum + moved), starts: starts)
    call.add(2, lane, (second + otherSecond).wide, starts: starts)
  }
}

/// The same two sums in float64 from the first step on, around a pivot that is the mean as near as it is known; the
/// third row is 0. For float32 no element is too large or too small to be squared in it. Only for runs: channels of
/// rows come as runs of 16 elements.
struct CarefulStatisticsOperation<E: Element>: LaneOperation {
  let pivot: F64
  var first = F64(0)
  var second = F64(0)

  @inline(__always) init(_ call: Call, _ lane: Int) {
    let pivot: E.V = call.parameter(Slot.mean, lane)
    self.pivot = pivot.wide
  }

  @inline(__always) private mutating func add(_ distance: F64) {
    first = first + distance
    second = F64.fma(second, distance, distance)
  }

  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    add(E.load(call.a, index).wide - pivot)
  }

  @inline(__always) mutating func partial(_ call: Call, _ index: Int, _ count: Int) {
    let distance = E.loadTail(call.a, index, count).wide - pivot
    add(F64.choose(F64(Double(count)) > F64.lanes, distance, F64(0)))
  }

  static var nothing: Void { @inline(__always) get { () } }
  @inline(__always) func hold(_ call: Call, _ index: Int) {}

  @inline(__always) mutating func release(
    _ call: Call, _ held: Void, _ index: Int, _ count: Int
  ) {
    let distance = E.load(call.a, index).wide - pivot
    add(F64.choose(F64.lanes > F64(Double(15 &- count)), distance, F64(0)))
  }

  @inline(__always) mutating func fold(
    _ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool
  ) {
    call.add(0, lane, first, starts: starts)
    call.add(1, lane, second, starts: starts)
    first = F64(0)
    second = F64(0)
  }
}
