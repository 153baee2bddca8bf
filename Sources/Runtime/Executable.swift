import ABNGraph
import ABNPlanning
import ABNTensors

/// A compiled program: steps, a plan, and the table of addresses that binds them.
public final class Executable {
  /// The steps, buffers and ports.
  public let lowered: LoweredProgram
  /// Where everything lives.
  public let plan: MemoryPlan
  /// What the passes decided before the program was lowered.
  public let decisions: [PassDecision]
  /// The program that was lowered: shapes known, passes applied. nil for steps without one.
  public let program: Program?

  private let mode: PlanningMode
  /// For each step whether it is run only when a value that it reads has changed, being a matter of
  /// parameters that the program leaves as they are.
  package let isConstant: [Bool]
  private var constants: Arena?
  /// Bytes outside the arena that are made once and kept.
  package let constantBytes: Int
  private let constantOffsets: [(buffer: Int, offset: Int)]
  /// Names of the values that constant steps read, and those that this program changes.
  private let constantSources: [String]
  private let changes: [String]
  /// The versions of `constantSources` that the constants were made from; empty before.
  private var constantVersions: [Int] = []
  private var table: UnsafeMutablePointer<UnsafeMutableRawPointer>
  private let starts: [Int]
  private var boundArena = -1
  private var boundScope = -1
  private weak var scope: Scope?
  private let resourceFault: String?
  private var memory: any BackendMemory = HostMemory.shared
  private var turns: (any Turns)?
  private var addresses: [UnsafeMutableRawPointer?]
  /// The steps as the memory recorded them, at the addresses that are bound now.
  private var recorded: (any RecordedSteps)?
  /// Runs since the addresses were bound.
  private var runsAtAddresses = 0
  private var staged: StagedFeeds?
  /// Bytes for the feeds of the next run, of memories that copy them while steps run.
  package let stagedBytes: Int

  /// Plans a lowered program.
  ///
  /// - Parameter keepsConstants: whether results that depend on unchanged parameters alone are kept
  ///   from run to run, in memory of their own.
  package init(
    _ given: LoweredProgram, of program: Program? = nil, decisions: [PassDecision] = [],
    mode: PlanningMode = .compact, keepsConstants: Bool = false, stagesFeeds: Bool = false
  ) {
    stagedBytes = stagesFeeds ? given.feeds.reduce(0) { saturatingSum($0, $1.type.bytes) } : 0
    self.program = program
    // In the other modes every run is a run of its own.
    let kept =
      keepsConstants && mode == .compact
      ? given.keepingConstants() : (given, given.steps.map { _ in false })
    let (lowered, isConstant) = kept
    self.lowered = lowered
    self.isConstant = isConstant
    var constantOffsets: [(buffer: Int, offset: Int)] = []
    var constantBytes = 0
    for (index, buffer) in lowered.buffers.enumerated() where buffer.use == .constant {
      constantOffsets.append((index, constantBytes))
      let units = (buffer.bytes + MemoryPlan.alignment - 1) / MemoryPlan.alignment
      constantBytes += units * MemoryPlan.alignment
    }
    self.constantOffsets = constantOffsets
    self.constantBytes = constantBytes
    var sources = Set<BufferID>()
    var written = Set<BufferID>()
    for (index, step) in lowered.steps.enumerated() {
      for argument in step.arguments {
        if argument.access != .read { written.insert(argument.buffer) }
        if isConstant[index] { sources.insert(argument.buffer) }
      }
    }
    constantSources = lowered.persistents.map(\.port).filter { sources.contains($0.buffer) }
      .map(\.name)
    changes = lowered.persistents.map(\.port).filter { written.contains($0.buffer) }.map(\.name)
    self.mode = mode
    resourceFault = lowered.resourceFault
    self.decisions = decisions
    plan = MemoryPlan(lowered.planRequest, mode: mode)
    var starts: [Int] = []
    var count = 0
    for step in lowered.steps {
      starts.append(count)
      count += step.arguments.count
    }
    self.starts = starts
    table = .allocate(capacity: max(count, 1))
    addresses = Array(repeating: nil, count: lowered.buffers.count)
  }

  deinit { table.deallocate() }

  /// Arena, constants, staged feeds and everything that lives in the scope: what a run needs, known
  /// before the first step; Int.max where that is more than Int can hold.
  public var plannedPeakBytes: Int {
    let parts =
      [plan.arenaBytes, constantBytes, stagedBytes] + lowered.persistents.map(\.port.type.bytes)
    return parts.reduce(0, saturatingSum)
  }

  /// The bytes that steps asked for because of their data.
  public var sideBytes: Int { lowered.sideBuffers.reduce(0) { $0 + $1.buffer.bytes } }

  /// Resolves every argument of every step to an address in the arena's memory, if arena or scope
  /// have moved.
  func bind(arena: Arena, scope: Scope) throws {
    if let fault = plan.fault ?? resourceFault {
      throw ABNError(
        .program, "lowered program", got: fault, wanted: "steps over the program's own buffers")
    }
    try arena.reserve(max(plan.arenaBytes, 64))
    if boundArena == arena.generation, boundScope == scope.generation, self.scope === scope {
      return
    }
    memory = arena.memory
    let (values, generation) = try scope.addresses(of: lowered.persistents, in: memory)
    for (index, offset) in plan.offsets.enumerated() {
      addresses[index] = offset.map { arena.base! + $0 }
    }
    for ((port, _), address) in zip(lowered.persistents, values) {
      addresses[port.buffer.index] = address
    }
    if constantBytes > 0 {
      let constants = self.constants ?? Arena(memory)
      self.constants = constants
      try constants.reserve(constantBytes)
      for (buffer, offset) in constantOffsets { addresses[buffer] = constants.base! + offset }
    }
    if self.scope !== scope { constantVersions = [] }
    for (step, start) in zip(lowered.steps, starts) {
      for (position, argument) in step.arguments.enumerated() {
        table[start + position] = addresses[argument.buffer.index]!
      }
    }
    recorded = nil
    runsAtAddresses = 0
    boundArena = arena.generation
    // Of the addresses: a value that another thread puts in after them has the next run bind again.
    boundScope = generation
    self.scope = scope
  }

  /// Copies the feeds in and runs every step.
  ///
  /// - Parameters:
  ///   - next: feeds of the run after this one, copied while the steps run.
  ///   - turns: how the run shares the processors with others.
  /// - Returns: when each step ran, if that was asked for; not in the checking mode, whose checks
  ///   take longer than the steps.
  /// - Throws: what a step throws, located at its layer; `ABNError(.program)` in the checking mode,
  ///   for a step that touches what is not its own.
  @discardableResult
  func run(
    feed: [String: Tensor], next: [String: Tensor] = [:], verbosity: Int, isProfiled: Bool = false,
    turns: (any Turns)? = nil
  ) throws -> StepProfile? {
    self.turns = turns
    turns?.begin()
    defer {
      turns?.end()
      noteChanges()
    }
    // Before the feeds are there: these steps use bytes of the arena too.
    try makeConstants()
    var guardian =
      mode == .guarded ? try ArenaGuard(plan, lowered, addresses, in: memory) : nil
    for port in lowered.feeds {
      // No step reads a value that is needed for its type alone: it has no bytes.
      guard let address = addresses[port.buffer.index] else { continue }
      if try staged?.take(port, feed[port.name]!, to: address) == true { continue }
      try memory.copyIn(feed[port.name]!, to: address)
    }
    if guardian != nil {
      for time in starts.indices {
        try guardian!.begin(time)
        try runStep(time, waits: true)
        try guardian!.end(time)
      }
      return nil
    }
    guard isProfiled || verbosity >= 2 else {
      try runAll()
      if memory.stages, !next.isEmpty {
        let staged = self.staged ?? StagedFeeds(memory)
        self.staged = staged
        try staged.stage(next, lowered.feeds)
      }
      try memory.synchronize()
      return nil
    }
    var profile = StepProfile(capacity: starts.count)
    for index in starts.indices {
      try profile.time {
        guard !isConstant[index] else { return }
        try runStep(index)
        try memory.synchronize()
      }
    }
    if verbosity >= 2 { profile.write(lowered.steps) }
    return profile
  }

  /// Runs all steps of a run, by one call where they are recorded.
  private func runAll() throws {
    runsAtAddresses += 1
    // The first run loads what libraries load when they are used, which cannot be recorded; many
    // programs run once.
    if runsAtAddresses == 2, lowered.isRecordable {
      recorded = try memory.record {
        for index in starts.indices where !isConstant[index] { try runStep(index) }
      }
    }
    if let recorded { return try recorded.run() }
    for index in starts.indices where !isConstant[index] { try runStep(index) }
  }

  /// - Parameter waits: whether it has ended when this returns, so that what it failed with is
  ///   known to be its own.
  private func runStep(_ index: Int, waits: Bool = false) throws {
    let step = lowered.steps[index]
    turns?.next()
    do {
      try step.run(StepPointers(base: UnsafePointer(table + starts[index])))
      if waits { try memory.synchronize() }
    } catch let error as ABNError {
      guard let source = step.source else { throw error }
      throw error.located(in: "\(step.name) \(quoted(step.layer))", at: source)
    }
  }

  /// Runs the constant steps if a value that they read is another one than last time.
  private func makeConstants() throws {
    guard !constantSources.isEmpty, let scope else { return }
    let isCurrent =
      constantVersions.count == constantSources.count
      && zip(constantSources, constantVersions).allSatisfy { scope.version(of: $0) == $1 }
    if isCurrent { return }
    constantVersions = []
    for index in starts.indices where isConstant[index] { try runStep(index) }
    constantVersions = constantSources.map { scope.version(of: $0) }
  }

  /// Tells the scope what this run has changed at its addresses.
  private func noteChanges() {
    scope?.noteChanges(of: changes)
  }

  /// Copies of the fetched values.
  ///
  /// - Throws: `ABNError(.system)` where there is no memory for one.
  func fetched() throws -> [Tensor] {
    try lowered.fetches.map { try memory.tensor(at: addresses[$0.buffer.index]!, $0.type) }
  }
}
