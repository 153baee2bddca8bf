/// Runs of contiguous elements that share 16 lanes of parameters (`lanes` is 16): one channel in all
/// lanes, 16 channels, or 8 channels twice. `runs` runs of `length` elements, `stride` apart.
@inline(never) func overRuns<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ runs: Int, _ stride: Int, _ length: Int
) {
  var worker = O(call, 0)
  let goesSideBySide =
    O.hasStrides && !(O.hasTwins && call.isUniform) && !(O.canKeep && call.keeps)
  let rest = length & 15
  var pending = 0
  var run = 0
  while run < runs {
    let start = run &* stride
    let vectors = length &>> 4
    let overlap = start &+ length &- 16
    let held = rest > 0 && vectors > 0 ? worker.hold(call, overlap) : nil
    var done = 0
    while done < vectors {
      let base = start &+ done &* 16
      if goesSideBySide && pending == 0 && vectors &- done >= 2 &* chunkVectors {
        // The processor reads ahead within a page (64 vectors of float32) and starts anew in the next:
        // two pages at once, so that it always has one that it is reading ahead in.
        let step = chunkVectors &* 16
        worker.beginBoth(call, base, step)
        var index = base
        let end = base &+ step
        while index < end {
          worker.pair(call, index, step)
          index &+= 16
        }
        worker.fold(call, 0, 2 &* chunkVectors)
        done &+= 2 &* chunkVectors
        continue
      }
      if pending == 0 { worker.begin(call, base, 16, vectors &- done, 16) }
      let room = chunkVectors &- pending
      let now = room < vectors &- done ? room : vectors &- done
      var index = base
      let end = base &+ now &* 16
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
      done &+= now
      pending &+= now
      if pending == chunkVectors {
        worker.fold(call, 0, pending)
        pending = 0
      }
    }
    if let held {
      worker.release(call, held, overlap, rest)
    } else if rest > 0 {
      worker.tail(call, start, rest)
    }
    run &+= 1
  }
  // Unconditionally: a tail may have left sums in the registers.
  if pending > 0 || rest > 0 { worker.fold(call, 0, pending) }
}

/// Rows of `channels` neighbouring channels, `lanes` rounded up to 16: the parameters go along the
/// row. Small tiles keep the traffic of parameters and sums low while memory is read in order.
@inline(never) func overRows<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ rows: Int, _ channels: Int
) {
  let tileRows = channels <= 64 ? 64 : channels >= 1024 ? 4 : 4096 / channels
  let limit = rows &* channels &* O.E.bytes
  var ahead = Ahead()
  ahead.limit = (tileRows < rows ? tileRows : rows) &* channels &* O.E.bytes
  while ahead.at &+ 64 < ahead.limit { ahead.touch(operation, call, 1) }
  var first = 0
  while first < rows {
    let chunk = rows &- first < chunkVectors ? rows &- first : chunkVectors
    var row = 0
    while row < chunk {
      let tile = chunk &- row < tileRows ? chunk &- row : tileRows
      // The tile after this one, which may be shorter.
      let after = (first &+ row &+ tile &+ tileRows) &* channels &* O.E.bytes
      ahead.limit = after < limit ? after : limit
      var lane = 0
      while lane < channels {
        let count = channels &- lane < 16 ? channels &- lane : 16
        var index = (first &+ row) &* channels &+ lane
        var worker = O(call, lane)
        if row == 0 {
          worker.begin(call, index, channels, chunk, count)
        } else {
          worker.resume(call, lane)
        }
        let end = index &+ tile &* channels
        if O.canKeep && call.keeps && count == 16 {
          while index < end {
            ahead.touch(operation, call, 1)
            worker.fullKeeping(call, index)
            index &+= channels
          }
        } else if count == 16 {
          if O.hasPairs {
            while index &+ channels < end {
              ahead.touch(operation, call, 2)
              worker.pair(call, index, channels)
              index &+= 2 &* channels
            }
          }
          while index < end {
            ahead.touch(operation, call, 1)
            worker.full(call, index)
            index &+= channels
          }
        } else {
          while index < end {
            ahead.touch(operation, call, 1)
            worker.partial(call, index, count)
            index &+= channels
          }
        }
        if row &+ tile == chunk {
          worker.fold(call, lane, chunk)
        } else {
          worker.suspend(call, lane)
        }
        lane &+= 16
      }
      row &+= tile
    }
    first &+= chunk
  }
  // Kept, in a byte that is spare, so that the reads are.
  call.state.storeBytes(of: ahead.seen, toByteOffset: 24 &* call.lanes, as: UInt8.self)
}

/// Reads memory in order and ahead of the vectors that go across it: the next tile arrives in the
/// nearest cache while this one is worked on.
struct Ahead {
  /// The next cache line to read, in bytes from the start of the call's elements, and the end of what
  /// may be read. At the end the last line is read again, which costs less than a choice.
  var at = 0
  var limit = 0
  var seen: UInt8 = 0

  /// One byte of each of the next cache lines, as many as `vectors` vectors have.
  @inline(__always) mutating func touch<O: LaneOperation>(
    _ operation: O.Type, _ call: Call, _ vectors: Int
  ) {
    let lines = O.E.bytes <= 4 ? vectors : 2 &* vectors
    var line = 0
    while line < lines {
      seen ^= call.a.load(fromByteOffset: at, as: UInt8.self)
      if O.readsBoth { seen ^= call.b.load(fromByteOffset: at, as: UInt8.self) }
      let next = at &+ 64
      at = next < limit ? next : at
      line &+= 1
    }
  }
}

/// How many vectors are summed in the precision of parameters before float64 takes over.
@inline(__always) var chunkVectors: Int { 64 }

/// The shape of a call.
struct Extent {
  var rows: Bool
  var runs: Int
  var stride: Int
  var length: Int
}

@inline(__always) private func go<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ extent: Extent
) {
  if extent.rows {
    overRows(operation, call, extent.runs, extent.length)
  } else {
    overRuns(operation, call, extent.runs, extent.stride, extent.length)
  }
}

private func invertible<E: Element, A: InvertibleActivation>(
  _ element: E.Type, _ activation: A.Type, _ step: Int, _ call: Call, _ extent: Extent
) {
  switch step {
  case Step.forward: go(ForwardOperation<E, A>.self, call, extent)
  case Step.reduce: go(ReduceOperation<InvertedSource<E, A>>.self, call, extent)
  case Step.apply: go(ApplyOperation<InvertedSource<E, A>>.self, call, extent)
  default: prepare(element, activation, call)
  }
}

private func prepare<E: Element, A: InvertibleActivation>(
  _ element: E.Type, _ activation: A.Type, _ call: Call
) {
  var lane = 0
  while lane < call.lanes {
    let bias: E.V = call.parameter(Slot.bias, lane)
    let slope: E.V = call.parameter(Slot.slope, lane)
    E.rounded(A.activate(bias, slope)).store(call.parameters, Slot.plain &* call.lanes &+ lane)
    lane &+= 16
  }
}

private func dispatch<E: Element>(
  _ element: E.Type, _ step: Int, _ call: Call, _ extent: Extent
) {
  switch step {
  case Step.statistics: go(StatisticsOperation<E>.self, call, extent)
  case Step.reduceStored, Step.reduceInput:
    go(ReduceOperation<KeptSource<E>>.self, call, extent)
  case Step.applyStored, Step.applyInput:
    go(ApplyOperation<KeptSource<E>>.self, call, extent)
  case Step.restore: go(RestoreOperation<E>.self, call, extent)
  case Step.activate: go(ActivateOperation<E>.self, call, extent)
  case Step.prepareStored: prepare(element, Identity.self, call)
  default:
    switch call.activation {
    case ActivationCode.leaky: invertible(element, Leaky.self, step, call, extent)
    case ActivationCode.learnedLeaky:
      // Only the sums know that the slope is learned.
      if step == Step.reduce {
        go(ReduceOperation<InvertedSource<E, LearnedLeaky>>.self, call, extent)
      } else {
        invertible(element, Leaky.self, step, call, extent)
      }
    case ActivationCode.elu: invertible(element, Elu.self, step, call, extent)
    default: invertible(element, Identity.self, step, call, extent)
    }
  }
}

/// The one way in. `element`: 0 float16, 1 bfloat16, 2 float32, 3 float64. `rows` false: `runs` runs
/// of `length` elements, `stride` apart; `lanes` is 16, or 1 where all lanes are one channel and
/// `parameters` holds one number for each slot. `rows` true: `runs` rows of `length` channels each.
/// `keeps`: whether a lane of `Slot.keep` is set. Pointers that a step does not use may be any valid
/// ones.
public func run(
  _ step: Int, _ element: Int, _ activation: Int, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
  _ out: UnsafeMutableRawPointer, _ parameters: UnsafeMutableRawPointer,
  _ state: UnsafeMutableRawPointer, _ sums: UnsafeMutableRawPointer, _ lanes: Int, _ rows: Bool,
  _ keeps: Bool, _ runs: Int, _ stride: Int, _ length: Int
) {
  let call = Call(
    a: a, b: b, out: out, parameters: parameters, state: state, sums: sums,
    lanes: lanes == 1 ? 16 : lanes, isUniform: lanes == 1, activation: activation, keeps: keeps,
    isInput: step == Step.reduceInput || step == Step.applyInput)
  let extent = Extent(rows: rows, runs: runs, stride: stride, length: length)
  switch element {
  case 0: dispatch(Float16Element.self, step, call, extent)
  case 1: dispatch(BFloat16Element.self, step, call, extent)
  case 2: dispatch(Float32Element.self, step, call, extent)
  default: dispatch(Float64Element.self, step, call, extent)
  }
}

/// What memory allows, for the benchmarks: goes over the lines of 64 bytes `first` ..< `end` of `base`
/// with the vectors of this set. `changes`: each is read and written; else all are read, and so that the
/// reads are kept the first word is set in the one case of 2^96 that three of their sums are 1, 2 and 3.
public func sweep(_ changes: Bool, _ base: UnsafeMutableRawPointer, _ first: Int, _ end: Int) {
  var at = first &* 64
  let last = end &* 64
  if changes {
    while at < last {
      let line = base.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt32>.self)
      base.storeBytes(of: line ^ 1, toByteOffset: at, as: SIMD16<UInt32>.self)
      at &+= 64
    }
    return
  }
  var seen = SIMD16<UInt32>()
  while at < last {
    seen ^= base.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt32>.self)
    at &+= 64
  }
  if first < end, seen[0] == 1, seen[1] == 2, seen[2] == 3 {
    base.storeBytes(of: seen[0], toByteOffset: first &* 64, as: UInt32.self)
  }
}

/// Elementary functions on arrays, for the tests of their error bounds: 0 exp, 1 expm1 (x <= 0),
/// 2 log1p (-1 < x <= 0), 3 tanh, 4 sigmoid, 5 normal distribution,
/// 6 its density.
/// `wide`: float64, else float32. `count` is a multiple of 16.
public func evaluate(
  _ function: Int, _ wide: Bool, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int
) {
  if wide {
    evaluateAll(F64.self, function, x, out, count)
  } else {
    evaluateAll(F32.self, function, x, out, count)
  }
}

private func evaluateAll<V: Vector>(
  _ type: V.Type, _ function: Int, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer,
  _ count: Int
) {
  var index = 0
  while index < count {
    let value = V.load(x, index)
    let result: V =
      switch function {
      case 0: V.exp(value)
      case 1: V.expMinusOneOfNegative(value)
      case 2: V.logOfOnePlusNegative(value)
      case 3: V.tanh(value)
      case 4: V.sigmoid(value)
      case 5: V.normal(value).below
      default: V.normal(value).density
      }
    result.store(out, index)
    index &+= 16
  }
}
