import CKernels

/// Rows of `length` neighbouring channels, whose parameters go along the row. A chunk of rows is
/// crossed once for each group of lanes, so that its parameters and sums stay in registers.
@inline(never) func overRows<P: LanePass>(_ type: P.Type, _ call: Call) {
  let channels = call.length
  let most = mostGroups(type)
  var row = 0
  while row < call.count {
    let rows = Rows<P.E>(call, row: row)
    var lane = 0
    // Neighbouring groups at once: fewer crossings, over whole cache lines, and chains of sums that
    // do not wait for one another.
    while most == 4 && lane &+ 64 <= channels {
      rows.cross(TwoGroups<TwoGroups<P>>.self, lane, 64)
      lane &+= 64
    }
    while most >= 2 && lane &+ 32 <= channels {
      rows.cross(TwoGroups<P>.self, lane, 32)
      lane &+= 32
    }
    while lane &+ 16 <= channels {
      rows.cross(OneGroup<P>.self, lane, 16)
      lane &+= 16
    }
    let width = channels &- lane
    if width > 0 { rows.cross(TailGroup<P>.self, lane, width) }
    row &+= rows.count
  }
}

/// How many groups of 16 lanes are crossed at once. 16 registers do not hold the sums of four. Sums
/// that take turns in a group alone do not in one beside another, and so their bits depend on it:
/// every set has two there.
@inline(__always) private func mostGroups<P: LanePass>(_ type: P.Type) -> Int {
  #if ABN_AVX512
  4
  #else
  isTuned || P.hasTwoAccumulators ? 2 : 1
  #endif
}

/// A chunk of rows.
private struct Rows<E: Element> {
  let call: Call
  let first: Int
  let count: Int

  @inline(__always) init(_ call: Call, row: Int) {
    self.call = call
    first = row &* call.length
    count = min(chunkVectors(of: E.self), call.count &- row)
  }

  /// `width` lanes from `lane` on, in all rows.
  ///
  /// Crossing rows defeats the processor's own reading ahead. Where elements come from memory those
  /// that will be crossed next, in the same row or that of the next chunk, are prefetched.
  @inline(__always)
  func cross<P: Pass>(_ type: P.Type, _ lane: Int, _ width: Int) where P.E == E {
    let channels = call.length
    let ahead = lane &+ width < channels ? width : count &* channels &- lane
    var index = first &+ lane
    let end = index &+ count &* channels
    var pass = P(call, lane)
    // What begins a chunk may take whole vectors of its first rows.
    let isInside = index &+ 7 &* channels &+ 16 <= call.count &* channels
    pass.begin(
      Chunk(
        index: index, step: channels, vectors: count, count: isInside || width >= 16 ? 16 : width))
    while index < end {
      if call.prefetches { call.prefetch(E.self, index &+ ahead, width, both: P.readsBoth) }
      pass.process(index)
      index &+= channels
    }
    pass.end(E.V(Double(count)))
  }
}

/// Two passes over neighbouring groups of lanes.
private struct TwoGroups<P: Pass>: Pass {
  typealias E = P.E
  static var readsBoth: Bool { P.readsBoth }
  static var width: Int { 2 &* P.width }
  var left: P
  var right: P

  @inline(__always) init(_ call: Call, _ lane: Int) {
    left = P(call, lane)
    right = P(call, lane &+ P.width)
  }

  @inline(__always) mutating func begin(_ chunk: Chunk) {
    left.begin(chunk)
    var other = chunk
    other.index &+= P.width
    right.begin(other)
  }

  @inline(__always) mutating func process(_ index: Int) {
    left.process(index)
    right.process(index &+ P.width)
  }

  @inline(__always) mutating func end(_ count: E.V) {
    left.end(count)
    right.end(count)
  }
}

// What is done with an element is a type, not a closure: closures were calls, with the accumulators
// in memory.

/// A pass over one group of lanes by itself.
private struct OneGroup<P: LanePass>: Pass {
  typealias E = P.E
  static var readsBoth: Bool { P.readsBoth }
  static var width: Int { 16 }
  var pass: P

  @inline(__always) init(_ call: Call, _ lane: Int) { pass = P(call, lane) }
  @inline(__always) mutating func begin(_ chunk: Chunk) { pass.begin(chunk) }
  @inline(__always) mutating func process(_ index: Int) {
    pass.process(index)
    if P.hasTwoAccumulators { pass.swapAccumulators() }
  }
  @inline(__always) mutating func end(_ count: E.V) { pass.end(count) }
}

/// A pass over the last group of lanes, of which fewer than 16 are channels.
private struct TailGroup<P: LanePass>: Pass {
  typealias E = P.E
  static var readsBoth: Bool { P.readsBoth }
  static var width: Int { 16 }
  var pass: P
  let width: Int
  let elements: Int

  @inline(__always) init(_ call: Call, _ lane: Int) {
    pass = P(call, lane)
    width = call.length &- lane
    elements = call.count &* call.length
  }
  @inline(__always) mutating func begin(_ chunk: Chunk) { pass.begin(chunk) }
  @inline(__always) mutating func process(_ index: Int) {
    if index &+ 16 <= elements {
      pass.processFirst(width, index)
    } else {
      pass.processTail(width, index)
    }
  }
  @inline(__always) mutating func end(_ count: E.V) { pass.end(count) }
}
