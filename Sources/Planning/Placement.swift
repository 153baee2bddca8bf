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

  /// The order in which the strategy places blocks.
  func order(_ blocks: [Block]) -> [Int] {
    // Stable: equal blocks are placed in the order in which they came.
    blocks.indices.sorted { a, b in
      if precedes(blocks[a], blocks[b]) { return true }
      return precedes(blocks[b], blocks[a]) ? false : a < b
    }
  }
}

/// Offsets for blocks, and the bytes they span.
struct Placement {
  private(set) var offsets: [Int]
  private(set) var bytes = 0

  /// Places blocks one after the other, each in the smallest hole that takes it.
  ///
  /// O(n^2) in the number of blocks.
  init(_ blocks: [Block], in order: [Int]) {
    offsets = [Int](repeating: 0, count: blocks.count)
    var placed: [(offset: Int, index: Int)] = []  // by offset
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
      bytes = max(bytes, offset + block.bytes)
      var low = 0
      var high = placed.count
      while low < high {
        let middle = (low + high) / 2
        if placed[middle].offset < offset { low = middle + 1 } else { high = middle }
      }
      placed.insert((offset, index), at: low)
    }
  }

  /// The smallest result of all strategies, and of what comes from the best three by placing the
  /// block that sticks out earlier, again and again.
  ///
  /// - Parameter bound: no placement is smaller; the search ends where it is reached.
  static func best(_ blocks: [Block], bound: Int) -> (placement: Placement, strategy: String) {
    var results = PlacementStrategy.all.map { strategy in
      let order = strategy.order(blocks)
      return (placement: Placement(blocks, in: order), strategy: strategy.name, order: order)
    }
    results.sort { $0.placement.bytes < $1.placement.bytes }
    var best = (placement: results[0].placement, strategy: results[0].strategy)
    // About a tenth of a second for any number of blocks.
    let rounds = min(200, 40_000_000 / max(1, blocks.count * blocks.count))
    for start in results.prefix(3) {
      var (order, current) = (start.order, start.placement)
      for _ in 0..<rounds where best.placement.bytes > bound {
        // The blocks that reach the end move half the way to the front.
        let ends = order.indices.filter {
          current.offsets[order[$0]] + blocks[order[$0]].bytes == current.bytes
        }
        for position in ends where position > 0 {
          order.insert(order.remove(at: position), at: position / 2)
        }
        current = Placement(blocks, in: order)
        if current.bytes < best.placement.bytes {
          best = (current, "\(start.strategy), improved")
        }
      }
    }
    return best
  }
}
