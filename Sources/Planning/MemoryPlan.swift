/// How a plan uses its bytes.
public enum PlanningMode: Sendable, Hashable {
  /// As few as possible: what programs run with.
  case compact
  /// As compact, with bytes between the blocks that nothing may touch: for the checking mode.
  case guarded
  /// Every buffer has bytes of its own and shares with nobody: what a plan is held against.
  case separate
}

/// Where every buffer of a run lives: one offset in one arena, decided before the first step.
public struct MemoryPlan: Sendable {
  /// Every block starts at a multiple of this: a cache line, and the widest vector.
  package static let alignment = 64

  /// The `PlanRequest.fault` of what was asked for; where there is one, no block has a place.
  package let fault: String?
  /// The bytes of the arena; Int.max, and no block has a place, where all blocks together have 2^61
  /// or more, or there is a `fault`.
  public let arenaBytes: Int
  /// The largest sum of bytes alive at one moment: no placement can need less.
  public let lowerBoundBytes: Int
  /// The step at which that sum is alive.
  public let peakStep: Int
  /// The buffers alive at that step, largest first; of buffers in the same bytes, one.
  public let peakBuffers: [BufferID]
  /// The strategy that gave the smallest arena.
  public let strategy: String
  /// Each in-place hint, granted or refused.
  public let decisions: [SharingDecision]
  /// The place of each buffer; nil for those outside the arena and unused ones.
  package let offsets: [Int?]
  /// What stands in the arena and when, in the order of the buffers.
  package let blocks: [PlacedBlock]
  /// How long it took to plan.
  package let seconds: Double
  /// How many placed blocks and holes were looked at: for tests of how planning grows with a
  /// program.
  package let looked: Int

  /// More bytes than any sum that is made here may have.
  private static let limit = 1 << 61

  /// Plans a request: decides who shares, then places.
  package init(_ given: PlanRequest, mode: PlanningMode = .compact) {
    let fault = given.fault
    self.fault = fault
    let request = fault == nil ? given : PlanRequest(buffers: [], steps: [])
    let clock = ContinuousClock()
    let start = clock.now
    let classes = SharingClasses(request, mayShare: mode != .separate)
    var (blocks, roots, total) = Self.blocks(of: classes, request, mode)
    let fits = total < Self.limit && fault == nil
    if !fits { (blocks, roots) = ([], []) }
    let (peak, at) = Self.peak(of: blocks, steps: request.steps.count)
    let best = Placement.best(blocks, bound: peak)
    var offsetOfRoot = [Int?](repeating: nil, count: request.buffers.count)
    for (block, root) in roots.enumerated() { offsetOfRoot[root] = best.placement.offsets[block] }
    strategy = best.strategy
    arenaBytes = fits ? best.placement.bytes : .max
    looked = best.looked
    offsets = given.buffers.indices.map { index in
      guard fault == nil else { return nil }
      guard request.buffers[index].use.isInArena else { return nil }
      return request.buffers[index].bytes == 0 ? 0 : offsetOfRoot[classes.root(BufferID(index))]
    }
    decisions = classes.decisions
    var members: [Int: [BufferID]] = [:]
    for index in request.buffers.indices where classes.lives[classes.root(BufferID(index))] != nil {
      members[classes.root(BufferID(index)), default: []].append(BufferID(index))
    }
    self.blocks = zip(blocks, roots).enumerated().map { index, block in
      PlacedBlock(
        offset: best.placement.offsets[index], bytes: block.0.bytes,
        usedBytes: classes.bytes[block.1],
        life: block.0.life, buffers: members[block.1]!)
    }

    lowerBoundBytes = fits ? peak : .max
    peakStep = at
    peakBuffers = zip(blocks, roots).filter { $0.0.life.contains(at) }
      .sorted { $0.0.bytes > $1.0.bytes }
      .map { BufferID($0.1) }
    seconds = start.duration(to: clock.now) / .seconds(1)
  }

  /// The classes that stand in the arena, with their first members, and their bytes together.
  private static func blocks(
    of classes: SharingClasses, _ request: PlanRequest, _ mode: PlanningMode
  ) -> (blocks: [Block], roots: [Int], bytes: Int) {
    var blocks: [Block] = []
    var roots: [Int] = []
    var total = 0
    for index in request.buffers.indices {
      guard classes.root(BufferID(index)) == index, request.buffers[index].use.isInArena,
        let life = classes.lives[index], classes.bytes[index] > 0
      else { continue }
      let guarded =
        min(classes.bytes[index], limit) + (mode == .guarded ? alignment : 0)
      let bytes = (guarded + alignment - 1) / alignment * alignment
      total = min(total + bytes, limit)
      // Bytes of their own are bytes for the whole run.
      let whole = -1...request.steps.count
      blocks.append(Block(bytes: bytes, life: mode == .separate ? whole : life))
      roots.append(index)
    }
    return (blocks, roots, total)
  }

  /// The largest sum of bytes alive at one step, and the first such step.
  private static func peak(of blocks: [Block], steps: Int) -> (bytes: Int, step: Int) {
    var alive = [Int](repeating: 0, count: steps + 3)
    for block in blocks {
      alive[block.life.lowerBound + 1] += block.bytes
      alive[block.life.upperBound + 2] -= block.bytes
    }
    var (now, peak, at) = (0, 0, 0)
    for (time, change) in alive.enumerated() {
      now += change
      if now > peak { (peak, at) = (now, time - 1) }
    }
    return (peak, at)
  }
}

/// Bytes of the arena during some steps, and the buffers that share them.
package struct PlacedBlock: Sendable {
  /// Where they begin.
  package let offset: Int
  /// How many, rounded up to the alignment.
  package let bytes: Int
  /// How many of them its largest buffer has; nothing may touch the rest.
  package let usedBytes: Int
  /// The steps during which they hold a value: -1 before the first, the count of steps after the
  /// last.
  package let life: ClosedRange<Int>
  /// The buffers that stand there, one after the other.
  package let buffers: [BufferID]
}
