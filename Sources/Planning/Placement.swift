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
    // About a tenth of a second for any number of blocks; what is left is not worth more.
    let rounds = min(300, 40_000_000 / max(1, blocks.count * blocks.count))
    let enough = bound + bound / 200
    // A fixed walk: plans are the same every time.
    var random: UInt64 = 0x9E37_79B9_7F4A_7C15
    for start in results.prefix(3) {
      var (order, current) = (start.order, start.placement)
      for _ in 0..<rounds where best.placement.bytes > enough {
        var changed = order
        // The blocks that reach the end move to the front, half the way, or anywhere before.
        let ends = changed.indices.filter {
          current.offsets[changed[$0]] + blocks[changed[$0]].bytes == current.bytes
        }
        for position in ends where position > 0 {
          random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          let target = [0, position / 2, Int(random >> 33) % position][Int(random >> 60) % 3]
          changed.insert(changed.remove(at: position), at: target)
        }
        let next = Placement(blocks, in: changed)
        // Now and then a step that does not help: to leave a corner.
        if next.bytes <= current.bytes || random >> 61 == 0 { (order, current) = (changed, next) }
        if next.bytes < best.placement.bytes {
          best = (next, "\(start.strategy), improved")
        }
      }
    }
    return best
  }
}
