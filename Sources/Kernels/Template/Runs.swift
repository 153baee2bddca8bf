import CKernels

/// How many vectors are summed in the precision of parameters before float64 takes over: twice as
/// many of elements of 16 bits, which are far from that precision. What is read is prefetched this
/// much ahead: 4 KiB of them and of float32, which is what a core has under way at once (48 lines
/// of 64 bytes), and a little.
@inline(__always) func chunkVectors<E: Element>(of element: E.Type) -> Int {
  E.bytes == 2 ? 128 : 64
}

/// Vectors between two prefetches: few enough that those and arithmetic overlap.
private let stretchVectors = 8

/// Runs of contiguous elements that share 16 lanes of parameters: one channel in all lanes, 16
/// channels, or 8 channels twice.
@inline(never) func overRuns<P: LanePass>(_ type: P.Type, _ call: Call) {
  var pass = P(call, 0)
  let rest = call.length & 15
  let vectors = call.length &>> 4
  let chunk = chunkVectors(of: P.E.self)
  var prefetch = Prefetch<P>(call)
  // Of short runs the next ones tell more of a chunk than the rest of its first.
  let isShort = vectors < 8 && call.count >= 8
  // Of the chunk so far: vectors, and ends of runs beside them.
  var taken = 0
  var ends = 0
  var run = 0
  while run < call.count {
    let start = run &* call.stride
    // The last 16 elements, which overlap the vector before.
    let last = start &+ call.length &- 16
    let overlaps = rest > 0 && vectors > 0
    var read = P.E.V(0)
    if overlaps { read = pass.readEnd(last) }
    var index = start
    let end = start &+ vectors &* 16
    repeat {
      // Here, not where the last vector is done: the end of its run still belongs to the chunk.
      if taken == chunk || ends == chunk {
        finish(&pass, taken, ends, rest)
        taken = 0
        ends = 0
      }
      if index == end { break }
      let left = (end &- index) &>> 4
      if taken == 0 {
        pass.begin(
          Chunk(
            index: index, step: isShort ? call.stride : 16,
            vectors: isShort ? call.count &- run : left))
      }
      let now = min(chunk &- taken, left)
      process(&pass, from: index, to: index &+ now &* 16, &prefetch)
      taken &+= now
      index &+= now &* 16
    } while index < end
    if rest > 0 {
      prefetch.advance(rest)
      if overlaps { pass.processEnd(rest, last, read) } else { pass.processTail(rest, start) }
      ends &+= 1
    }
    run &+= 1
  }
  if taken > 0 || ends > 0 || call.starts { finish(&pass, taken, ends, rest) }
}

/// Ends a chunk.
@inline(__always)
private func finish<P: LanePass>(_ pass: inout P, _ taken: Int, _ ends: Int, _ rest: Int) {
  let more = P.E.V.choose(P.E.V.last(rest), P.E.V(Double(ends)), P.E.V(0))
  pass.end(P.E.V(Double(taken)) + more)
}

/// The whole vectors of a run from `first` to `end`.
@inline(__always)
private func process<P: LanePass>(
  _ pass: inout P, from first: Int, to end: Int, _ prefetch: inout Prefetch<P>
) {
  let call = prefetch.call
  var index = first
  while index < end {
    var stop = end
    let nextUnit = P.prefetchesNextUnit ? call.next_unit : 0
    if call.prefetches || nextUnit != 0 {
      stop = min(index &+ stretchVectors &* 16, end)
      prefetch.advance(stop &- index)
      // At most one line for each vector, or this pass waits for the memory: of elements of 4 bytes
      // a alone.
      let both = P.readsBoth && P.E.bytes < 4
      if nextUnit != 0 { call.prefetch(P.E.self, index &+ nextUnit, stop &- index, both: both) }
    }
    if P.hasTwoAccumulators || P.E.hasPairs && call.isUniform {
      while index &+ 16 < stop {
        pass.processTwo(index)
        index &+= 32
      }
    }
    while index < stop {
      pass.process(index)
      index &+= 16
    }
  }
}

/// What a pass over runs will read a chunk later, where elements come from memory: the processor's
/// own reading ahead ends with a page, and cannot know the next run.
private struct Prefetch<P: LanePass> {
  let call: Call
  /// The next element, how many are left of its run, and how many runs.
  var index: Int
  var left: Int
  var runs: Int

  @inline(__always) init(_ call: Call) {
    self.call = call
    let ahead = chunkVectors(of: P.E.self) &* 16
    let run = call.prefetches ? ahead / max(call.length, 1) : call.count
    // Of short runs whole ones, so that requests are as long as what is taken beside them.
    let inside = run == 0 ? ahead : 0
    index = run &* call.stride &+ inside
    left = call.length &- inside
    runs = call.count &- run
  }

  /// Asks for the next `count` elements.
  @inline(__always) mutating func advance(_ count: Int) {
    var rest = count
    while rest > 0 && runs > 0 {
      let now = min(rest, left)
      call.prefetch(P.E.self, index, now, both: P.readsBoth)
      rest &-= now
      index &+= now
      left &-= now
      if left == 0 {
        index &+= call.stride &- call.length
        left = call.length
        runs &-= 1
      }
    }
  }
}
