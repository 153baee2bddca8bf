import CKernels

/// How many vectors are summed in the precision of parameters before float64 takes over: twice as many of elements of
/// 16 bits, which are far from that precision. What is read is asked for this much ahead: 4 KiB of them and of
/// float32, which is what a core has under way at once (48 lines of 64 bytes), and a little.
@inline(__always) func chunkVectors<E: Element>(of element: E.Type) -> Int {
  E.bytes == 2 ? 128 : 64
}

/// Vectors between two requests: few enough that asking and arithmetic overlap.
@inline(__always) var stepVectors: Int { 8 }

/// Runs of contiguous elements that share 16 lanes of parameters (`lanes` is 16): one channel in all
/// lanes, 16 channels, or 8 channels twice. `runs` runs of `length` elements, `stride` apart.
///
/// Where the elements come from memory (`isFar`) they are asked for a chunk ahead: the processor's own
/// reading ahead ends with a page and cannot know the next run. Beside them, those `later` elements on are asked
/// for, which a pass after this one reads.
@inline(never) func overRuns<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ runs: Int, _ stride: Int, _ length: Int
) {
  var worker = O(call, 0)
  let asks = call.isFar || call.later != 0
  let rest = length & 15
  let vectors = length &>> 4
  let chunkVectors = chunkVectors(of: O.E.self)
  // A chunk ahead, there is the next run, or of short runs one of those after it.
  let skipped = vectors >= chunkVectors || !call.isFar ? 1 : chunkVectors / (vectors &+ 1)
  // Of short runs the next ones tell more of a chunk than the rest of its first, and have been asked for.
  let isShort = vectors < 8 && runs >= 8
  let within = vectors > chunkVectors ? (vectors &- chunkVectors) &* 16 : 0
  // The first fold stores its sums. The third is not of every operation, and what has no vectors only adds.
  var starts = call.starts
  if starts {
    F64(0).store(call.sums, 32)
    if vectors == 0 || runs == 0 {
      F64(0).store(call.sums, 0)
      F64(0).store(call.sums, 16)
      starts = false
    }
  }
  // Vectors since the last fold, and ends of runs, which are summed in the registers beside them.
  var pending = 0
  var tails = 0
  var run = 0
  while run < runs {
    let start = run &* stride
    let overlap = start &+ length &- 16
    // A flag beside it: of an optional vector the compiler makes eight integers.
    let holds = rest > 0 && vectors > 0
    var held = O.nothing
    if holds { held = worker.hold(call, overlap) }
    // Where reading ahead leaves this run, and how far ahead it is from there.
    let turn = start &+ within
    let beyond = skipped &* stride &- within
    let hasLater = call.isFar && run &+ skipped < runs
    var done = 0
    while done < vectors {
      var index = start &+ done &* 16
      // Here, not where the last vector is done: the end of its run still belongs to the chunk.
      if pending == chunkVectors {
        worker.fold(call, 0, pending, starts)
        starts = false
        pending = 0
        tails = 0
      }
      if pending == 0 {
        worker.begin(
          call, index, isShort ? stride : 16, isShort ? runs &- run : vectors &- done, 16)
      }
      let room = chunkVectors &- pending
      let now = room < vectors &- done ? room : vectors &- done
      let last = index &+ now &* 16
      while index < last {
        var end = last
        if asks {
          let step = index &+ stepVectors &* 16
          end = step < last ? step : last
          if call.later != 0 {
            // At most one line for each vector that is worked on, or this pass waits for the memory: of
            // elements of 4 bytes a alone.
            let part = O.laterPart(call, of: end &- index)
            askFor(
              operation, call, index &+ call.later &+ part.lowerBound, part.count,
              both: O.E.bytes < 4)
          }
          if call.isFar && index < turn {
            askFor(operation, call, index &+ chunkVectors &* 16, end &- index)
          } else if hasLater {
            askFor(operation, call, index &+ beyond, end &- index)
          }
        }
        if O.canKeep && call.keeps {
          while index < end {
            worker.fullKeeping(call, index)
            index &+= 16
          }
        } else {
          if O.hasTwins && call.isUniform {
            while index &+ 16 < end {
              worker.twin(call, index)
              index &+= 32
            }
          } else if O.hasPairs {
            while index &+ 16 < end {
              worker.pair(call, index, 16)
              index &+= 32
            }
          }
          while index < end {
            worker.full(call, index)
            index &+= 16
          }
        }
      }
      done &+= now
      pending &+= now
    }
    if rest > 0 && hasLater {
      askFor(operation, call, start &+ vectors &* 16 &+ beyond, rest)
    }
    if holds {
      worker.release(call, held, overlap, rest)
    } else if rest > 0 {
      worker.tail(call, start, rest)
    }
    if rest > 0 {
      tails &+= 1
      if tails == chunkVectors {
        worker.fold(call, 0, pending, starts)
        starts = false
        pending = 0
        tails = 0
      }
    }
    run &+= 1
  }
  if pending > 0 || tails > 0 { worker.fold(call, 0, pending, starts) }
}

/// Asks for `count` elements of what the operation reads, from `index` on. They need not exist.
@inline(__always) private func askFor<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ index: Int, _ count: Int, both: Bool = true
) {
  var at = index &* O.E.bytes
  let end = at &+ count &* O.E.bytes
  while at < end {
    abn_prefetch(call.a + at)
    if both && O.readsBoth { abn_prefetch(call.b + at) }
    at &+= 64
  }
}
