import CKernels

/// Vectors between two requests across rows, where eight were slower.
@inline(__always) private var stepAcross: Int { 2 }

/// Whether an operation crosses two groups of channels side by side. Where pairs of vectors have sums of their own,
/// which groups side by side have not, in every set: the order of the sums, and so their bits, depends on it.
@inline(__always) private func hasTwoGroups<O: LaneOperation>(_ operation: O.Type) -> Bool {
  O.hasNeighbours && (isTuned || O.hasPairs)
}

/// The same of four groups, whose sums 16 registers do not hold: with them the statistics of AVX2 take two thirds
/// more instructions than with two groups.
@inline(__always) private func hasFourGroups<O: LaneOperation>(_ operation: O.Type) -> Bool {
  #if ABN_AVX512
  O.hasNeighbours
  #else
  false
  #endif
}

/// Rows of `channels` neighbouring channels, `lanes` rounded up to 16: the parameters go along the
/// row. Small tiles keep the traffic of parameters and sums low while memory is read in order. A tensor
/// that is not far goes by whole chunks, as what starts and ends a tile costs as much as a small one.
@inline(never) func overRows<O: LaneOperation>(
  _ operation: O.Type, _ call: Call, _ rows: Int, _ channels: Int
) {
  let chunkVectors = chunkVectors(of: O.E.self)
  let tileRows =
    !call.isFar || channels <= 64 ? chunkVectors : channels >= 1024 ? 4 : 4096 / channels
  let limit = rows &* channels &* O.E.bytes
  var ahead = Ahead()
  ahead.limit = (tileRows < rows ? tileRows : rows) &* channels &* O.E.bytes
  if call.isFar {
    while ahead.at < ahead.limit { ahead.ask(operation, call) }
  }
  var first = 0
  while first < rows {
    let chunk = rows &- first < chunkVectors ? rows &- first : chunkVectors
    var row = 0
    while row < chunk {
      let tile = Tile(
        first: (first &+ row) &* channels, channels: channels,
        rows: chunk &- row < tileRows ? chunk &- row : tileRows, row: row, chunk: chunk)
      // The tile after this one, which may be shorter.
      let after = (first &+ row &+ tile.rows &+ tileRows) &* channels &* O.E.bytes
      ahead.limit = after < limit ? after : limit
      var lane = 0
      // Not asked for, tiles are as high as a chunk: four groups at once cross a row of 64 in order.
      while hasFourGroups(operation) && !call.isFar && lane &+ 64 <= channels {
        tile.cross(Neighbours<Neighbours<O>>.self, call, lane, &ahead)
        lane &+= 64
      }
      while hasTwoGroups(operation) && lane &+ 32 <= channels {
        tile.cross(Neighbours<O>.self, call, lane, &ahead)
        lane &+= 32
      }
      while lane &+ 16 <= channels {
        tile.cross(operation, call, lane, &ahead)
        lane &+= 16
      }
      if lane < channels { tile.crossRest(operation, call, lane, rows &* channels, &ahead) }
      row &+= tile.rows
    }
    first &+= chunk
  }
}

/// Rows that are crossed once for each group of lanes: `rows` rows from element `first` on, row `row` and
/// those after it of a chunk of `chunk`.
private struct Tile {
  var first: Int
  var channels: Int
  var rows: Int
  var row: Int
  var chunk: Int

  @inline(__always) func start<O: TileOperation>(
    _ worker: inout O, _ call: Call, _ lane: Int, _ count: Int
  ) {
    if row == 0 {
      worker.begin(call, first &+ lane, channels, chunk, count)
    } else {
      worker.resume(call, lane)
    }
  }

  @inline(__always) func end<O: TileOperation>(_ worker: inout O, _ call: Call, _ lane: Int) {
    if row &+ rows == chunk {
      worker.fold(call, lane, chunk, false)
    } else {
      worker.suspend(call, lane)
    }
  }

  /// The 16 lanes of each of the operation's groups, from `lane` on.
  @inline(__always) func cross<O: TileOperation>(
    _ operation: O.Type, _ call: Call, _ lane: Int, _ ahead: inout Ahead
  ) {
    var worker = O(call, lane)
    start(&worker, call, lane, 16)
    var index = first &+ lane
    let last = index &+ rows &* channels
    while index < last {
      let end = ahead.stretch(operation, call, from: index, to: last, channels)
      if O.canKeep && call.keeps {
        while index < end {
          worker.fullKeeping(call, index)
          index &+= channels
        }
      } else {
        if O.hasPairs {
          while index &+ channels < end {
            worker.pair(call, index, channels)
            index &+= 2 &* channels
          }
        }
        while index < end {
          worker.full(call, index)
          index &+= channels
        }
      }
    }
    end(&worker, call, lane)
  }

  /// The channels from `lane` on, less than 16, of a tensor of `elements`.
  @inline(__always) func crossRest<O: LaneOperation>(
    _ operation: O.Type, _ call: Call, _ lane: Int, _ elements: Int, _ ahead: inout Ahead
  ) {
    let count = channels &- lane
    var worker = O(call, lane)
    var index = first &+ lane
    // What starts a chunk may take whole vectors of its first rows, as `leading` does.
    let isInside = index &+ 7 &* channels &+ 16 <= elements
    start(&worker, call, lane, isInside ? 16 : count)
    let last = index &+ rows &* channels
    while index < last {
      let end = ahead.stretch(operation, call, from: index, to: last, channels)
      while index < end {
        if index &+ 16 <= elements {
          worker.leading(call, index, count)
        } else {
          worker.partial(call, index, count)
        }
        index &+= channels
      }
    }
    end(&worker, call, lane)
  }
}

/// Two groups of 16 lanes side by side, or twice as many of what is that itself: each row is crossed half as
/// often, two cache lines at a time, and the two chains of sums do not wait for one another.
private struct Neighbours<O: TileOperation>: TileOperation {
  typealias E = O.E
  static var readsBoth: Bool { @inline(__always) get { O.readsBoth } }
  static var groups: Int { @inline(__always) get { 2 &* O.groups } }
  /// Elements from the left ones to the right.
  @inline(__always) private static var width: Int { 16 &* O.groups }
  static var canKeep: Bool { @inline(__always) get { O.canKeep } }
  var left: O
  var right: O

  @inline(__always) init(_ call: Call, _ lane: Int) {
    left = O(call, lane)
    right = O(call, lane &+ Self.width)
  }

  @inline(__always) mutating func begin(
    _ call: Call, _ index: Int, _ step: Int, _ available: Int, _ count: Int
  ) {
    left.begin(call, index, step, available, count)
    right.begin(call, index &+ Self.width, step, available, count)
  }

  @inline(__always) mutating func resume(_ call: Call, _ lane: Int) {
    left.resume(call, lane)
    right.resume(call, lane &+ Self.width)
  }

  @inline(__always) func suspend(_ call: Call, _ lane: Int) {
    left.suspend(call, lane)
    right.suspend(call, lane &+ Self.width)
  }

  @inline(__always) mutating func full(_ call: Call, _ index: Int) {
    left.full(call, index)
    right.full(call, index &+ Self.width)
  }

  @inline(__always) mutating func fullKeeping(_ call: Call, _ index: Int) {
    left.fullKeeping(call, index)
    right.fullKeeping(call, index &+ Self.width)
  }

  @inline(__always) mutating func fold(
    _ call: Call, _ lane: Int, _ vectors: Int, _ starts: Bool
  ) {
    left.fold(call, lane, vectors, starts)
    right.fold(call, lane &+ Self.width, vectors, starts)
  }
}

/// Asks for memory in order and ahead of the vectors that go across it: the next tile arrives while this
/// one is worked on. Crossing rows defeats the processor's own reading ahead.
private struct Ahead {
  /// The next cache line to ask for, in bytes from the start of the call's elements, and the end of what
  /// is worth asking for.
  var at = 0
  var limit = 0

  /// Where the vectors that go across rows from `index` on stop to ask again: at `last` if nothing is far.
  @inline(__always) mutating func stretch<O: TileOperation>(
    _ operation: O.Type, _ call: Call, from index: Int, to last: Int, _ channels: Int
  ) -> Int {
    if !call.isFar { return last }
    ask(operation, call)
    let step = index &+ stepAcross / O.groups &* channels
    return step < last ? step : last
  }

  /// As many lines as `stepAcross` vectors have.
  @inline(__always) mutating func ask<O: TileOperation>(_ operation: O.Type, _ call: Call) {
    if at >= limit { return }
    let end = at &+ stepAcross &* 16 &* O.E.bytes
    while at < end {
      abn_prefetch(call.a + at)
      if O.readsBoth { abn_prefetch(call.b + at) }
      at &+= 64
    }
  }
}
