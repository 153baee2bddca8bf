/// Sums of x - pivot and its square. Within a chunk, at most 64 vectors (`chunkVectors`) and the ends of their runs, they are
/// taken around a centre, in the precision of parameters, and moved to the pivot in float64. The centre is the
/// mean of the chunk's first four vectors, so that the chunk's variance is at least 1/21 of the squared distance
/// from its mean (four of at most 81 elements a lane) and at most 5 bits cancel, whatever the data; or the first
/// vector (one of 128, 7 bits) where no four stand side by side: in runs of fewer, and in the channels past a
/// multiple of 16 of rows. Chunks of elements of 16 bits are twice as long: one bit more.
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
    } else if available >= 4 {
      let quarter = E.V(0.25)
      let x0 = E.load(call.a, index) * quarter + E.load(call.a, index &+ step) * quarter
      let x2 =
        E.load(call.a, index &+ 2 &* step) * quarter + E.load(call.a, index &+ 3 &* step) * quarter
      centre = x0 + x2
    } else {
      centre = E.load(call.a, index)
    }
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
    let count = F64(Double(vectors)) + rest.wide
    let sum = (first + otherFirst).wide
    call.add(0, lane, F64.fma(sum, count, shift), starts: starts)
    call.add(
      1, lane, (second + otherSecond).wide + shift * (F64(2) * sum + count * shift),
      starts: starts)
  }
}
