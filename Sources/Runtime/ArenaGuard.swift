import ABNPlanning
import ABNTensors

/// The checking mode of one run: bytes that hold no value are NaN, and the bytes between blocks
/// stay as they are.
struct ArenaGuard {
  /// A quiet NaN in every floating-point type, and a number nobody expects in the others.
  private static let freed: UInt8 = 0xFF
  private static let canary: UInt8 = 0xA5

  private let lowered: LoweredProgram
  private let memory: any BackendMemory
  /// The address of each block, with the block.
  private let blocks: [(address: UnsafeMutableRawPointer, block: PlacedBlock)]
  private var beginning: [Int: [Int]] = [:]
  private var ending: [Int: [Int]] = [:]
  private var alive: Set<Int> = []

  /// Fills all that is not fed, and sets the canaries of what is.
  init(
    _ plan: MemoryPlan, _ lowered: LoweredProgram, _ addresses: [UnsafeMutableRawPointer?],
    in memory: any BackendMemory
  ) throws {
    self.lowered = lowered
    self.memory = memory
    blocks = plan.blocks.map { (addresses[$0.buffers[0].index]!, $0) }
    for (index, entry) in blocks.enumerated() {
      beginning[entry.block.life.lowerBound, default: []].append(index)
      ending[entry.block.life.upperBound, default: []].append(index)
    }
    for entry in blocks { try fill(entry, Self.freed) }
    try begin(-1)
  }

  /// Sets the canaries of the blocks that a step is the first to use.
  mutating func begin(_ time: Int) throws {
    for index in beginning[time] ?? [] {
      try setCanary(index)
      alive.insert(index)
    }
  }

  private func fill(
    _ entry: (address: UnsafeMutableRawPointer, block: PlacedBlock), _ value: UInt8
  ) throws {
    try memory.fill(entry.address, with: value, count: entry.block.usedBytes)
  }

  private func setCanary(_ index: Int) throws {
    let (address, block) = blocks[index]
    try memory.fill(
      address + block.usedBytes, with: Self.canary, count: block.bytes - block.usedBytes)
  }

  private func isCanaryWhole(_ index: Int) throws -> Bool {
    let (address, block) = blocks[index]
    var bytes = [UInt8](repeating: 0, count: block.bytes - block.usedBytes)
    try bytes.withUnsafeMutableBytes { try memory.copyOut(address + block.usedBytes, to: $0) }
    return bytes.allSatisfy { $0 == Self.canary }
  }

  /// Looks at the canaries after a step, and fills what is free then.
  ///
  /// - Throws: `ABNError(.program)` that names the step and the buffer behind which it wrote.
  mutating func end(_ time: Int) throws {
    for index in alive.sorted() {
      guard try isCanaryWhole(index) else { throw damage(time, blocks[index].block) }
    }
    for index in ending[time] ?? [] {
      try fill(blocks[index], Self.freed)
      alive.remove(index)
    }
  }

  private func damage(_ time: Int, _ block: PlacedBlock) -> ABNError {
    let step = lowered.steps[time]
    let names = block.buffers.map { lowered.buffers[$0.index].name }.joined(separator: ", ")
    return ABNError(
      .program, "step \(time), \(step.name) \(quoted(step.layer))", at: step.source,
      got: "bytes changed behind the \(block.usedBytes) of \(names)",
      wanted: "writes within the buffers that the step asked for",
      fix: "This is a mistake in the backend: report it with the program.")
  }
}
