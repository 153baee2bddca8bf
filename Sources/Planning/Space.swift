/// Bytes that blocks are put into and taken out of: a block goes into the smallest hole that takes
/// it, the lowest of equal ones, or behind all others.
struct Space {
  /// Where each block is, or was.
  private(set) var offsets: [Int]
  /// The most bytes that were spanned.
  private(set) var mostBytes = 0
  /// How many holes were looked at.
  var looked: Int { holes.looked }

  private var ends: [Int]
  /// The neighbours of each block by address; `bottom` stands below the first.
  private var below: [Int]
  private var above: [Int]
  private let bottom: Int
  private var top: Int
  private var holes = HoleTree()

  init(count: Int) {
    offsets = Array(repeating: 0, count: count)
    ends = Array(repeating: 0, count: count + 1)
    below = Array(repeating: -1, count: count + 1)
    above = Array(repeating: -1, count: count + 1)
    bottom = count
    top = count
  }

  /// The hole above a block: between it and the next; nil where there is none.
  private func hole(above block: Int) -> HoleTree.Hole? {
    let next = above[block]
    guard next >= 0, offsets[next] > ends[block] else { return nil }
    return HoleTree.Hole(bytes: offsets[next] - ends[block], offset: ends[block], below: block)
  }

  /// Finds a place for a block.
  mutating func allocate(_ block: Int, bytes: Int) {
    let hole = holes.removeSmallest(of: bytes)
    let lower = hole?.below ?? top
    let upper = above[lower]
    offsets[block] = ends[lower]
    ends[block] = ends[lower] + bytes
    (below[block], above[block]) = (lower, upper)
    above[lower] = block
    if upper >= 0 { below[upper] = block } else { top = block }
    if let rest = self.hole(above: block) { holes.insert(rest) }
    mostBytes = max(mostBytes, ends[block])
  }

  /// Lets the bytes of a block go.
  mutating func free(_ block: Int) {
    let (lower, upper) = (below[block], above[block])
    if let hole = hole(above: lower) { holes.remove(hole) }
    if let hole = hole(above: block) { holes.remove(hole) }
    above[lower] = upper
    if upper >= 0 { below[upper] = lower } else { top = lower }
    if let hole = hole(above: lower) { holes.insert(hole) }
  }
}

/// Holes ordered by size, then by offset: a treap, a search tree that priorities drawn at random
/// keep about 2 log2(n) deep. The draws are the same every time.
private struct HoleTree {
  struct Hole {
    let bytes: Int
    let offset: Int
    /// The block below the hole.
    let below: Int

    static func < (a: Hole, b: Hole) -> Bool { (a.bytes, a.offset) < (b.bytes, b.offset) }
  }

  private struct Node {
    var hole: Hole
    var priority: UInt64
    var left = -1
    var right = -1
  }

  private var nodes: [Node] = []
  private var unused: [Int] = []
  private var root = -1
  private var random: UInt64 = 0x9E37_79B9_7F4A_7C15
  private(set) var looked = 0

  mutating func insert(_ hole: Hole) {
    random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let node = Node(hole: hole, priority: random)
    let new: Int
    if let free = unused.popLast() {
      nodes[free] = node
      new = free
    } else {
      nodes.append(node)
      new = nodes.count - 1
    }
    let (less, more) = split(root, before: hole)
    root = join(join(less, new), more)
  }

  mutating func remove(_ hole: Hole) {
    let (less, rest) = split(root, before: hole)
    let (found, more) = detachFirst(rest)
    unused.append(found)
    root = join(less, more)
  }

  /// Takes out the smallest hole of at least so many bytes, the lowest of equal ones.
  mutating func removeSmallest(of bytes: Int) -> Hole? {
    let (less, rest) = split(root, before: Hole(bytes: bytes, offset: -1, below: -1))
    guard rest >= 0 else {
      root = less
      return nil
    }
    let (found, more) = detachFirst(rest)
    unused.append(found)
    root = join(less, more)
    return nodes[found].hole
  }

  /// The holes less than `hole`, and the others.
  private mutating func split(_ node: Int, before hole: Hole) -> (less: Int, rest: Int) {
    guard node >= 0 else { return (-1, -1) }
    looked += 1
    if nodes[node].hole < hole {
      let (less, rest) = split(nodes[node].right, before: hole)
      nodes[node].right = less
      return (node, rest)
    }
    let (less, rest) = split(nodes[node].left, before: hole)
    nodes[node].left = rest
    return (less, node)
  }

  /// One tree of two of which all holes of the first are less.
  private mutating func join(_ a: Int, _ b: Int) -> Int {
    guard a >= 0 else { return b }
    guard b >= 0 else { return a }
    looked += 1
    if nodes[a].priority > nodes[b].priority {
      nodes[a].right = join(nodes[a].right, b)
      return a
    }
    nodes[b].left = join(a, nodes[b].left)
    return b
  }

  /// The node of the least hole of a tree, and the tree without it.
  private mutating func detachFirst(_ node: Int) -> (first: Int, rest: Int) {
    looked += 1
    guard nodes[node].left >= 0 else { return (node, nodes[node].right) }
    let (first, rest) = detachFirst(nodes[node].left)
    nodes[node].left = rest
    return (first, node)
  }
}
