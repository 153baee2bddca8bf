/// A block of bytes that must have a place during some steps.
struct Block {
  let bytes: Int
  let life: ClosedRange<Int>
}

/// A way to give each block an offset so that blocks alive together do not overlap.
struct PlacementStrategy: Sendable {
  let name: String
  /// The order in which blocks are placed: whether the first goes before the second.
  let precedes: @Sendable (Block, Block) -> Bool

  /// Peers; the smallest result wins.
  static let all = [
    PlacementStrategy(name: "largest first") { a, b in
      (b.bytes, a.life.lowerBound) < (a.bytes, b.life.lowerBound)
    },
    PlacementStrategy(name: "longest-lived first") { a, b in
      (b.life.count, b.bytes) < (a.life.count, a.bytes)
    },
    PlacementStrategy(name: "largest area first") { a, b in
      (b.bytes * b.life.count, b.bytes) < (a.bytes * a.life.count, a.bytes)
    },
    PlacementStrategy(name: "in order of birth") { a, b in
      (a.life.lowerBound, b.bytes) < (b.life.lowerBound, a.bytes)
    },
    PlacementStrategy(name: "in reverse order of death") { a, b in
      (b.life.upperBound, b.bytes) < (a.life.upperBound, a.bytes)
    },
  ]

  /// Offsets for all blocks, each in the smallest hole that takes it, and the bytes they span.
  ///
  /// O(n^2) in the number of blocks.
  func place(_ blocks: [Block]) -> (offsets: [Int], bytes: Int) {
    var offsets = [Int](repeating: 0, count: blocks.count)
    // Stable: equal blocks are placed in the order in which they came.
    let order = blocks.indices.sorted { a, b in
      if precedes(blocks[a], blocks[b]) { return true }
      return precedes(blocks[b], blocks[a]) ? false : a < b
    }
    var placed: [(offset: Int, index: Int)] = []  // by offset
    var span = 0
    for index in order {
      let block = blocks[index]
      var best: (offset: Int, slack: Int)?
      var end = 0
      for other in placed where blocks[other.index].life.overlaps(block.life) {
        let slack = other.offset - end - block.bytes
        if slack >= 0 && slack < best?.slack ?? .max { best = (end, slack) }
        end = max(end, other.offset + blocks[other.index].bytes)
      }
      let offset = best?.offset ?? end
      offsets[index] = offset
      span = max(span, offset + block.bytes)
      var low = 0
      var high = placed.count
      while low < high {
        let middle = (low + high) / 2
        if placed[middle].offset < offset { low = middle + 1 } else { high = middle }
      }
      placed.insert((offset, index), at: low)
    }
    return (offsets, span)
  }
}
