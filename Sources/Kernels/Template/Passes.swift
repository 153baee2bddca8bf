import CKernels

// A lane operation is arithmetic on 16 lanes: a map (`LaneMap`) or a sum (`LaneSum`). A pass takes
// it over elements in memory: it loads, masks and stores, once for all maps (`MapPass`) and once
// for all sums (`SumPass`). A loop (`overRuns`, `overRows`) says where the elements are, and
// prefetches them.

/// Arithmetic on 16 lanes, with the parameters of their channels in registers.
protocol LaneOperation {
  associatedtype E: Element
  /// Whether b is read beside a.
  static var readsBoth: Bool { get }
  init(_ call: Call, _ lane: Int)
}

/// One result for each lane, from the numbers in that lane alone.
protocol LaneMap: LaneOperation {
  func map(_ a: E.V, _ b: E.V) -> E.V
  /// Whether lanes of `Slot.keep` are left as they are in memory.
  static var leavesKept: Bool { get }
  /// Whether a of some lanes is kept aside before it is overwritten, and of which: those that the
  /// result will not tell.
  static var keepsAside: Bool { get }
  func isLost(_ a: E.V) -> LaneMask
}

extension LaneMap {
  static var readsBoth: Bool { false }
  static var leavesKept: Bool { false }
  static var keepsAside: Bool { false }
  @inline(__always) func isLost(_ a: E.V) -> LaneMask { LaneMask.none }
}

/// Up to three sums for each lane: over a chunk of elements in accumulators of precision `Sum`,
/// then in float64.
protocol LaneSum: LaneOperation {
  associatedtype Sum: Vector
  /// Whether two sets of accumulators take turns, so that their chains of additions do not wait for
  /// one another.
  static var hasTwoAccumulators: Bool { get }
  /// Whether there is a third sum.
  static var hasThird: Bool { get }
  /// What a lane without an element counts as, beside a b of 0: it adds 0 to every sum.
  var neutral: E.V { get }
  mutating func begin(_ call: Call, _ chunk: Chunk)
  func add(_ a: E.V, _ b: E.V, to sums: inout Sums<Sum>)
  /// The sums of a chunk of `count` elements in each lane.
  func totals(_ call: Call, _ lane: Int, _ sums: Sums<Sum>, _ count: E.V) -> Sums<F64>
}

extension LaneSum {
  static var readsBoth: Bool { false }
  static var hasTwoAccumulators: Bool { false }
  static var hasThird: Bool { false }
  @inline(__always) var neutral: E.V { E.V(0) }
  @inline(__always) mutating func begin(_ call: Call, _ chunk: Chunk) {}
}

/// A set of accumulators.
struct Sums<V: Vector> {
  var first = V(0)
  var second = V(0)
  var third = V(0)
}

/// Where a chunk begins: `vectors` vectors, `step` elements apart, of which `count` lanes are
/// elements.
struct Chunk {
  var index: Int
  var step: Int
  var vectors: Int
  var count = 16
}

/// A lane operation on its way over elements in memory. `index` is that of the first of the
/// elements meant.
protocol Pass {
  associatedtype E: Element
  static var readsBoth: Bool { get }
  /// Elements that are processed at once: 16, or those of neighbouring groups of 16 lanes.
  static var width: Int { get }
  init(_ call: Call, _ lane: Int)
  mutating func begin(_ chunk: Chunk)
  mutating func process(_ index: Int)
  /// Ends a chunk of so many elements in each lane.
  mutating func end(_ count: E.V)
}

/// A pass over one group of lanes.
protocol LanePass: Pass {
  /// Whether it is the second of two passes, beside which memory has little else to do
  /// (`next_unit`).
  static var prefetchesNextUnit: Bool { get }
  /// Whether it is a sum with two sets of accumulators, and their exchange.
  static var hasTwoAccumulators: Bool { get }
  mutating func swapAccumulators()
  /// 32 elements; those of one channel in any order.
  mutating func processTwo(_ index: Int)
  /// `count` elements of 16 that exist.
  mutating func processFirst(_ count: Int, _ index: Int)
  /// `count` elements, after which memory may end.
  mutating func processTail(_ count: Int, _ index: Int)
  /// The last `count` of the 16 elements that a run ends with, which overlap the vector before:
  /// what `readEnd` gives before the run is changed, `processEnd` takes after.
  func readEnd(_ index: Int) -> E.V
  mutating func processEnd(_ count: Int, _ index: Int, _ read: E.V)
}

/// A map on its way: results go to `out`.
struct MapPass<M: LaneMap>: LanePass {
  typealias E = M.E
  let call: Call
  let operation: M
  let keep: LaneMask
  let keeps: Bool

  @inline(__always) init(_ call: Call, _ lane: Int) {
    self.call = call
    operation = M(call, lane)
    let kept: E.V = call.parameter(Slot.keep, lane)
    keep = kept > E.V(0)
    // Restoring meets channels that are kept as a whole.
    keeps = M.leavesKept && (call.keeps || call.step == Step.restore)
  }

  static var readsBoth: Bool { M.readsBoth }
  static var width: Int { 16 }
  static var prefetchesNextUnit: Bool { true }
  static var hasTwoAccumulators: Bool { false }
  @inline(__always) mutating func swapAccumulators() {}
  @inline(__always) mutating func begin(_ chunk: Chunk) {}
  @inline(__always) mutating func end(_ count: E.V) {}

  /// The results of the lanes that `load` reads; of those in the mask of bits what will be lost is
  /// kept aside.
  @inline(__always) private func result(
    _ index: Int, lanes: Int = 0xFFFF, _ load: (UnsafeRawPointer) -> E.V
  ) -> E.V {
    let a = load(call.a)
    note(a, index, lanes)
    let result = operation.map(a, M.readsBoth ? load(call.b) : a)
    return keeps ? E.V.choose(keep, load(UnsafeRawPointer(call.out)), result) : result
  }

  @inline(__always) private func note(_ a: E.V, _ index: Int, _ lanes: Int) {
    if !M.keepsAside { return }
    let lost = operation.isLost(a).bits & lanes
    if lost != 0 { noteAside(call, E.bytes, index, lost) }
  }

  @inline(__always) mutating func process(_ index: Int) {
    E.store(result(index) { E.load($0, index) }, call.out, index)
  }

  @inline(__always) mutating func processTwo(_ index: Int) {
    if M.keepsAside {
      process(index)
      process(index &+ 16)
    } else {
      let first = result(index) { E.loadPair($0, index).0 }
      let second = result(index) { E.loadPair($0, index).1 }
      E.storePair((first, second), call.out, index)
    }
  }

  @inline(__always) mutating func processFirst(_ count: Int, _ index: Int) {
    let result = result(index, lanes: (1 &<< count) &- 1) { E.load($0, index) }
    E.storeFirst(result, call.out, index, count)
  }

  @inline(__always) mutating func processTail(_ count: Int, _ index: Int) {
    let result = result(index, lanes: (1 &<< count) &- 1) { E.loadTail($0, index, count) }
    E.storeTail(result, call.out, index, count)
  }

  @inline(__always) func readEnd(_ index: Int) -> E.V {
    result(index, lanes: 0) { E.load($0, index) }
  }

  @inline(__always) mutating func processEnd(_ count: Int, _ index: Int, _ read: E.V) {
    // The others have been overwritten.
    if M.keepsAside { note(E.load(call.a, index), index, 0xFFFF &<< (16 &- count)) }
    E.store(read, call.out, index)
  }
}

/// A sum on its way: those of chunks are added to the call's.
struct SumPass<S: LaneSum>: LanePass {
  typealias E = S.E
  let call: Call
  let lane: Int
  var operation: S
  var sums = Sums<S.Sum>()
  var others = Sums<S.Sum>()
  var starts: Bool

  @inline(__always) init(_ call: Call, _ lane: Int) {
    self.call = call
    self.lane = lane
    operation = S(call, lane)
    starts = call.starts
  }

  static var readsBoth: Bool { S.readsBoth }
  static var width: Int { 16 }
  static var prefetchesNextUnit: Bool { false }
  static var hasTwoAccumulators: Bool { S.hasTwoAccumulators }
  @inline(__always) mutating func swapAccumulators() { swap(&sums, &others) }
  @inline(__always) mutating func begin(_ chunk: Chunk) { operation.begin(call, chunk) }

  /// Adds the lanes that `load` reads, or those of a mask.
  @inline(__always) private mutating func add(
    _ mask: LaneMask? = nil, _ load: (UnsafeRawPointer) -> E.V
  ) {
    var a = load(call.a)
    var b = S.readsBoth ? load(call.b) : a
    if let mask {
      a = E.V.choose(mask, a, operation.neutral)
      b = E.V.choose(mask, b, E.V(0))
    }
    operation.add(a, b, to: &sums)
  }

  @inline(__always) mutating func process(_ index: Int) { add { E.load($0, index) } }

  @inline(__always) mutating func processTwo(_ index: Int) {
    let isPair = E.hasPairs && call.isUniform
    add { isPair ? E.loadPair($0, index).0 : E.load($0, index) }
    swapAccumulators()
    add { isPair ? E.loadPair($0, index).1 : E.load($0, index &+ 16) }
    swapAccumulators()
  }

  /// What the sums of the other lanes are is not looked at.
  @inline(__always) mutating func processFirst(_ count: Int, _ index: Int) { process(index) }

  @inline(__always) mutating func processTail(_ count: Int, _ index: Int) {
    add(E.V.first(count)) { E.loadTail($0, index, count) }
  }

  @inline(__always) func readEnd(_ index: Int) -> E.V { E.V(0) }

  @inline(__always) mutating func processEnd(_ count: Int, _ index: Int, _ read: E.V) {
    add(E.V.last(count)) { E.load($0, index) }
  }

  @inline(__always) mutating func end(_ count: E.V) {
    if S.hasTwoAccumulators || E.hasPairs {
      sums.first = sums.first + others.first
      sums.second = sums.second + others.second
      sums.third = sums.third + others.third
    }
    let totals = operation.totals(call, lane, sums, count)
    call.add(totals.first, row: 0, lane, starts: starts)
    call.add(totals.second, row: 1, lane, starts: starts)
    if S.hasThird || starts { call.add(totals.third, row: 2, lane, starts: starts) }
    starts = false
    sums = Sums()
    others = Sums()
  }
}
