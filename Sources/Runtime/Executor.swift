import ABNGraph
import ABNPlanning
import ABNTensors
import Synchronization

/// Something that a run can give back: a variable, or its name.
public protocol Fetchable {
  /// The variable of `program`.
  func variable(in program: Program) throws -> Variable
}

extension Variable: Fetchable {
  /// The variable itself; of a persistable, the one that has its name: both stand for the value in
  /// the scope.
  public func variable(in program: Program) throws -> Variable {
    if program.owns(self) { return program[id] }
    let named = program.variable(named: name)
    if let named, isPersistable, named.isPersistable { return named }
    throw ABNError(
      .program, "fetch \(quoted(name))", at: source,
      got: "a variable of another program, made at \(source)",
      wanted: named.map { "one of this program, as \(quoted(name)) made at \($0.source)" }
        ?? "a variable of this program", fix: "Fetch it by its name where that is meant.")
  }
}

extension String: Fetchable {
  public func variable(in program: Program) throws -> Variable {
    try program.requireVariable(named: self)
  }
}

/// How much memory a program may need to be compiled for a run.
public enum MemoryLimit: Sendable, Hashable {
  /// What the backend's memory has: of the host, what the machine has, or the container, or the
  /// shell's limits allow (`MachineMemory`).
  case machine
  /// So many bytes.
  case bytes(Int)
  /// Any: for programs that are planned and not run.
  case none

  func bytes(of memory: any BackendMemory) -> Int? {
    switch self {
    case .machine: memory.capacity
    case .bytes(let bytes): bytes
    case .none: nil
    }
  }
}

/// Runs programs: compiles each once per shape of its feeds, keeps the result, shares one arena.
///
/// One call at a time: a second one from another thread ends with an error.
public final class Executor {
  private struct Key: Hashable {
    let revision: UInt64
    let shapes: [String: Shape]
    let fetches: [VariableID]
    /// Scratch memory is sized for these.
    let threads: Int
  }

  private let backend: any Backend
  private let mode: PlanningMode?
  private let keepsConstants: Bool
  private let arena: Arena
  private var cache: [Key: (executable: Executable, lastUse: Int)] = [:]
  private var uses = 0
  private let memoryLimit: MemoryLimit
  private let isBusy = Atomic(false)

  /// Executables kept; the one unused for longest goes first.
  package static let cacheLimit = 64

  /// An executor for one backend.
  ///
  /// - Parameters:
  ///   - mode: how plans use bytes; nil: compact, or guarded where `ABN_CHECK` is 1. Guarded
  ///     plans are run in the checking mode: freed bytes are filled with NaN, and a step that
  ///     touches bytes between the buffers ends the run with an error.
  ///   - keepsConstants: whether what depends on unchanged parameters alone (their copies in the
  ///     layouts of convolutions, normalizations folded into them) is made once and kept, which
  ///     takes about as much memory as the parameters. Where a program changes all its parameters
  ///     nothing is kept.
  ///   - memoryLimit: what a program may need; one that needs more is refused when it is compiled.
  public init(
    backend: any Backend, mode: PlanningMode? = nil, keepsConstants: Bool = true,
    memoryLimit: MemoryLimit = .machine
  ) {
    self.memoryLimit = memoryLimit
    self.backend = backend
    arena = Arena(backend.memory)
    self.keepsConstants = keepsConstants
    self.mode = mode
  }

  /// Runs a program once.
  ///
  /// - Parameters:
  ///   - feed: a tensor for each data variable that the fetches or updates need, by name.
  ///   - next: feeds of the run after this one, where they are known: a backend that has a memory
  ///     of its own copies them while this run's steps run. They are taken where that run is given
  ///     the same tensors.
  ///   - fetch: what to give back.
  ///   - scope: where parameters and state live.
  /// - Returns: the fetched values in the order asked for, in row-major order.
  /// - Throws: `ABNError` for feeds that do not fit, an illegal program, or state without a value;
  ///   what `compile` throws; `.unsupported` where another thread uses the executor or the scope.
  @discardableResult
  public func run(
    _ program: Program, feed: [String: Tensor] = [:], next: [String: Tensor] = [:],
    fetch: [any Fetchable] = [], scope: Scope
  ) throws -> [Tensor] {
    try alone {
      try scope.used {
        try scope.admit(program)
        let executable = try prepare(program, feed: feed, fetch: fetch, scope: scope)
        try executable.run(
          feed: feed, next: next, verbosity: try Debug.verbosity(), turns: try turns())
        return try executable.fetched()
      }
    }
  }

  /// The backend's turns, unless `ABN_TURNS` is 0.
  private func turns() throws -> (any Turns)? { try Debug.takesTurns() ? backend.turns : nil }

  /// Calls `body` as the one call that uses the executor.
  private func alone<R>(_ body: () throws -> R) throws -> R {
    guard !isBusy.exchange(true, ordering: .acquiring) else {
      throw ABNError(
        .unsupported, "executor", got: "a call while another one is under way, on another thread",
        wanted: "one call at a time", fix: "Give each thread an executor and a scope of its own.")
    }
    defer { isBusy.store(false, ordering: .releasing) }
    return try body()
  }

  /// As `run`, noting when each step of the executable runs.
  ///
  /// - Returns: the fetched values and the times of the steps of `compile`'s executable.
  /// - Throws: as `run`, and `ABNError(.unsupported)` in the checking mode, whose checks would be
  ///   timed with the steps.
  public func profile(
    _ program: Program, feed: [String: Tensor] = [:], fetch: [any Fetchable] = [], scope: Scope
  ) throws -> (fetched: [Tensor], profile: StepProfile) {
    try alone {
      try scope.used {
        try scope.admit(program)
        let executable = try prepare(program, feed: feed, fetch: fetch, scope: scope)
        guard
          let profile = try executable.run(
            feed: feed, verbosity: try Debug.verbosity(), isProfiled: true, turns: try turns())
        else {
          throw ABNError(
            .unsupported, "profile", got: "the checking mode", wanted: "a run without checks",
            fix: "Unset ABN_CHECK.")
        }
        return (try executable.fetched(), profile)
      }
    }
  }

  /// The compiled program for feeds of these types, bound to its addresses.
  private func prepare(
    _ program: Program, feed: [String: Tensor], fetch: [any Fetchable], scope: Scope
  ) throws -> Executable {
    for (name, tensor) in feed {
      if let failure = tensor.failure {
        throw ABNError(
          failure.category, "feed \(quoted(name)): \(failure.what)", at: failure.location,
          got: failure.got, wanted: failure.wanted, fix: failure.fix)
      }
    }
    let executable = try compiled(program, feed: feed.mapValues(\.shape), fetch: fetch)
    for port in executable.lowered.feeds {
      let given = feed[port.name]!
      guard given.dtype == port.type.dtype else {
        throw ABNError(
          .feed, "feed \(quoted(port.name))", got: "\(given.dtype)", wanted: "\(port.type.dtype)",
          fix: "Convert it with cast(to: .\(port.type.dtype)).")
      }
    }
    try executable.bind(arena: arena, scope: scope)
    return executable
  }

  /// The compiled program for feeds of these shapes, from the cache where it is there.
  ///
  /// - Throws: `ABNError` for feeds that do not fit or an illegal program; `.system` for a program
  ///   that needs more memory than `memoryLimit`, with a batch size that fits where there is one.
  public func compile(
    _ program: Program, feed: [String: Shape] = [:], fetch: [any Fetchable] = []
  ) throws -> Executable {
    try alone { try compiled(program, feed: feed, fetch: fetch) }
  }

  private func compiled(
    _ program: Program, feed: [String: Shape], fetch: [any Fetchable]
  ) throws -> Executable {
    let fetches = try fetch.map { try $0.variable(in: program).id }
    let key = Key(
      revision: program.revision, shapes: feed, fetches: fetches, threads: backend.threads)
    uses += 1
    if let found = cache[key] {
      cache[key]!.lastUse = uses
      return found.executable
    }
    let verbosity = try Debug.verbosity()
    let executable = try make(program, feed: feed, fetches: fetches, verbosity: verbosity)
    executable.describe(verbosity: verbosity, backend: backend.name)
    if cache.count >= Self.cacheLimit,
      let oldest = cache.min(by: { $0.value.lastUse < $1.value.lastUse })
    {
      cache[oldest.key] = nil
    }
    cache[key] = (executable, uses)
    return executable
  }

  /// What a run would need: exactly where it is at most `limit`, else at least.
  func neededBytes(
    _ program: Program, feed: [String: Shape], fetches: [VariableID], limit: Int
  ) throws -> Int {
    let (concrete, decisions) = try rewritten(program, feed: feed, fetches: fetches, verbosity: 0)
    let tables = backend.tableBytes(of: concrete)
    let least = saturatingSum(concrete.leastBytes, tables)
    if least > limit { return least }
    return saturatingSum(
      try executable(concrete, decisions, fetches: fetches).plannedPeakBytes, tables)
  }

  /// Specializes, rewrites, lowers and plans, within the limit of memory.
  private func make(
    _ program: Program, feed: [String: Shape], fetches: [VariableID], verbosity: Int
  ) throws -> Executable {
    let (concrete, decisions) = try rewritten(
      program, feed: feed, fetches: fetches, verbosity: verbosity)
    func check(_ bytes: Int) throws {
      guard let limit = memoryLimit.bytes(of: arena.memory), bytes > limit else { return }
      throw tooLarge(program, feed: feed, fetches: fetches, needed: bytes, limit: limit)
    }
    // Before the tables of kernels are made, which may be larger than the tensors.
    let tables = backend.tableBytes(of: concrete)
    try check(saturatingSum(concrete.leastBytes, tables))
    // They are made for a plan too, on the host.
    if let limit = MachineMemory.bytes, tables > limit {
      throw tooLarge(program, feed: feed, fetches: fetches, needed: tables, limit: limit)
    }
    let made = try executable(concrete, decisions, fetches: fetches)
    try check(saturatingSum(made.plannedPeakBytes, tables))
    return made
  }

  /// The program with its shapes known, as the backend's passes make it.
  private func rewritten(
    _ program: Program, feed: [String: Shape], fetches: [VariableID], verbosity: Int
  ) throws -> (program: Program, decisions: [PassDecision]) {
    var concrete = try Self.specialize(program, feed: feed, fetches: fetches)
    if verbosity >= 4 { Debug.tell("\(concrete)") }
    var decisions: [PassDecision] = []
    for pass in backend.passes {
      let rewritten = try pass.rewrite(concrete, fetches: Set(fetches))
      decisions += rewritten.decisions
      // A pass that had nothing to do gives back the program that was verified before it.
      guard rewritten.program.revision != concrete.revision else { continue }
      if verbosity >= 4 { Debug.tell("after \(pass.name):\n\(rewritten.program)") }
      concrete = rewritten.program
      try concrete.verify()
    }
    return (concrete, decisions)
  }

  private func executable(
    _ concrete: Program, _ decisions: [PassDecision], fetches: [VariableID]
  ) throws -> Executable {
    Executable(
      try backend.lower(concrete, fetches: fetches), of: concrete, decisions: decisions,
      mode: try mode ?? (Debug.isChecking() ? .guarded : .compact), keepsConstants: keepsConstants,
      stagesFeeds: backend.memory.stages)
  }

  private static func specialize(
    _ program: Program, feed: [String: Shape], fetches: [VariableID]
  ) throws -> Program {
    let pruned = program.pruned(to: fetches)
    var shapes: [VariableID: Shape] = [:]
    for (name, shape) in feed {
      let variable = try program.requireVariable(named: name)
      guard variable.role == .data else {
        throw ABNError(
          .feed, "feed \(quoted(name))", at: variable.source,
          got: "a variable that the program makes",
          wanted: "a data variable")
      }
      guard shape.isKnown, variable.shape.admits(shape) else {
        throw ABNError(
          .feed, "feed \(quoted(name))", at: variable.source, got: "shape \(shape.dimensions)",
          wanted: "\(variable.shape)")
      }
      shapes[variable.id] = shape
    }
    let read = Set(pruned.operators.flatMap(\.inputs)).union(fetches)
    for id in read.sorted() where program[id].role == .data && shapes[id] == nil {
      throw ABNError(
        .feed, "feed \(quoted(program[id].name))", at: program[id].source, got: "nothing",
        wanted: "a tensor \(program[id].type)", fix: "Pass it in feed.")
    }
    let made = Set(pruned.operators.flatMap(\.outputs))
    for id in fetches where program[id].role == .temporary && !made.contains(id) {
      throw ABNError(
        .feed, "fetch \(quoted(program[id].name))", at: program[id].source,
        got: "a variable that this program does not make",
        wanted: "a result of one of its operators", fix: "Fetch it from the training program.")
    }
    let concrete: Program
    do {
      concrete = try pruned.specialized(to: shapes)
    } catch {
      // What does not fit there may come of a gradient that has another shape than its variable.
      try checkGradients(longestPrefix(of: pruned, fitting: shapes))
      throw error
    }
    try concrete.verify()
    try checkGradients(concrete)
    return concrete
  }

  /// As many operators of a program as have types for these shapes.
  private static func longestPrefix(
    of program: Program, fitting shapes: [VariableID: Shape]
  ) throws -> Program {
    func prefix(_ count: Int) throws -> Program {
      try program.with(operators: Array(program.operators.prefix(count))).specialized(to: shapes)
    }
    var (fits, exceeds) = (0, program.operators.count)
    while exceeds - fits > 1 {
      let middle = (fits + exceeds) / 2
      if (try? prefix(middle)) == nil { exceeds = middle } else { fits = middle }
    }
    return try prefix(fits)
  }

  /// A gradient has its variable's shape. Where sizes were unknown, an operator that broadcasts
  /// them now was differentiated as if they were equal.
  private static func checkGradients(_ program: Program) throws {
    let made = Set(program.operators.flatMap(\.outputs))
    for id in made.sorted() where program[id].role != .state {
      let variable = program[id]
      guard let gradient = program.variable(named: "\(variable.name)@GRAD"),
        made.contains(gradient.id), gradient.shape != variable.shape
      else { continue }
      throw ABNError(
        .feed, "gradient of \(quoted(variable.name))", at: variable.source,
        got: "shape \(gradient.shape)", wanted: "the variable's, \(variable.shape)",
        fix:
          "Sizes that were unknown when the program was differentiated are broadcast now: declare a size of 1 as 1."
      )
    }
  }
}
