import ABNGraph
import ABNPlanning
import ABNTensors

/// Something that a run can give back: a variable, or its name.
public protocol Fetchable {
  /// The variable of `program`.
  func variable(in program: Program) throws -> Variable
}

extension Variable: Fetchable {
  public func variable(in program: Program) throws -> Variable {
    guard id.index < program.variables.count, program[id].name == name else {
      return try program.requireVariable(named: name)
    }
    return program[id]
  }
}

extension String: Fetchable {
  public func variable(in program: Program) throws -> Variable {
    try program.requireVariable(named: self)
  }
}

/// Runs programs: compiles each once per shape of its feeds, keeps the result, shares one arena.
///
/// Not for use from two threads at once.
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
  private let arena = Arena()
  private var cache: [Key: (executable: Executable, lastUse: Int)] = [:]
  private var uses = 0

  /// Executables kept; the one unused for longest goes first.
  public static let cacheLimit = 64

  /// An executor for one backend.
  ///
  /// - Parameters:
  ///   - mode: how plans use bytes; nil: compact, or guarded where `ABN_CHECK` is 1. Guarded
  ///     plans are run in the checking mode: freed bytes are filled with NaN, and a step that touches
  ///     bytes between the buffers ends the run with an error.
  ///   - keepsConstants: whether what depends on unchanged parameters alone (their copies in the layouts
  ///     of convolutions, normalizations folded into them) is made once and kept, which takes about as
  ///     much memory as the parameters. Where a program changes all its parameters nothing is kept.
  public init(backend: any Backend, mode: PlanningMode? = nil, keepsConstants: Bool = true) {
    self.backend = backend
    self.keepsConstants = keepsConstants
    self.mode = mode
  }

  /// Runs a program once.
  ///
  /// - Parameters:
  ///   - feed: a tensor for each data variable that the fetches or updates need, by name.
  ///   - fetch: what to give back.
  ///   - scope: where parameters and state live.
  /// - Returns: the fetched values in the order asked for, in row-major order.
  /// - Throws: `ABNError` for feeds that do not fit, an illegal program, or state without a value.
  @discardableResult
  public func run(
    _ program: Program, feed: [String: Tensor] = [:], fetch: [any Fetchable] = [], scope: Scope
  ) throws -> [Tensor] {
    let executable = try prepare(program, feed: feed, fetch: fetch, scope: scope)
    try executable.run(feed: feed, verbosity: try Debug.verbosity())
    return executable.fetched()
  }

  /// As `run`, noting when each step of the executable runs.
  ///
  /// - Returns: the fetched values and the times of the steps of `compile`'s executable.
  /// - Throws: as `run`, and `ABNError(.unsupported)` in the checking mode, whose checks would be
  ///   timed with the steps.
  public func profile(
    _ program: Program, feed: [String: Tensor] = [:], fetch: [any Fetchable] = [], scope: Scope
  ) throws -> (fetched: [Tensor], profile: StepProfile) {
    let executable = try prepare(program, feed: feed, fetch: fetch, scope: scope)
    guard
      let profile = try executable.run(
        feed: feed, verbosity: try Debug.verbosity(), isProfiled: true)
    else {
      throw ABNError(
        .unsupported, "profile", got: "the checking mode", wanted: "a run without checks",
        fix: "Unset ABN_CHECK.")
    }
    return (executable.fetched(), profile)
  }

  /// The compiled program for feeds of these types, bound to its addresses.
  private func prepare(
    _ program: Program, feed: [String: Tensor], fetch: [any Fetchable], scope: Scope
  ) throws -> Executable {
    let executable = try compile(program, feed: feed.mapValues(\.shape), fetch: fetch)
    for port in executable.lowered.feeds {
      let given = feed[port.name]!
      guard given.dtype == port.type.dtype else {
        throw ABNError(
          .feed, "feed \"\(port.name)\"", got: "\(given.dtype)", wanted: "\(port.type.dtype)",
          fix: "Convert it with cast(to: .\(port.type.dtype)).")
      }
    }
    try executable.bind(arena: arena, scope: scope)
    return executable
  }

  /// The compiled program for feeds of these shapes, from the cache where it is there.
  public func compile(
    _ program: Program, feed: [String: Shape] = [:], fetch: [any Fetchable] = []
  ) throws -> Executable {
    let fetches = try fetch.map { try $0.variable(in: program).id }
    let key = Key(
      revision: program.revision, shapes: feed, fetches: fetches, threads: backend.threads)
    uses += 1
    if let found = cache[key] {
      cache[key]!.lastUse = uses
      return found.executable
    }
    var concrete = try Self.specialize(program, feed: feed, fetches: fetches)
    let verbosity = try Debug.verbosity()
    if verbosity >= 4 { Debug.tell("\(concrete)") }
    var decisions: [PassDecision] = []
    for pass in backend.passes {
      let rewritten = try pass.rewrite(concrete, fetches: Set(fetches))
      decisions += rewritten.decisions
      if verbosity >= 4 && rewritten.program.revision != concrete.revision {
        Debug.tell("after \(pass.name):\n\(rewritten.program)")
      }
      concrete = rewritten.program
      try concrete.verify()
    }
    let executable = Executable(
      try backend.lower(concrete, fetches: fetches), of: concrete, decisions: decisions,
      mode: try mode ?? (Debug.isChecking() ? .guarded : .compact), keepsConstants: keepsConstants)
    executable.describe(verbosity: verbosity, backend: backend.name)
    if cache.count >= Self.cacheLimit,
      let oldest = cache.min(by: { $0.value.lastUse < $1.value.lastUse })
    {
      cache[oldest.key] = nil
    }
    cache[key] = (executable, uses)
    return executable
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
          .feed, "feed \"\(name)\"", at: variable.source, got: "a variable that the program makes",
          wanted: "a data variable")
      }
      guard variable.shape.admits(shape) else {
        throw ABNError(
          .feed, "feed \"\(name)\"", at: variable.source, got: "shape \(shape)",
          wanted: "\(variable.shape)")
      }
      shapes[variable.id] = shape
    }
    let read = Set(pruned.operations.flatMap(\.inputs)).union(fetches)
    for id in read.sorted() where program[id].role == .data && shapes[id] == nil {
      throw ABNError(
        .feed, "feed \"\(program[id].name)\"", at: program[id].source, got: "nothing",
        wanted: "a tensor \(program[id].type)", fix: "Pass it in feed.")
    }
    let made = Set(pruned.operations.flatMap(\.outputs))
    for id in fetches where program[id].role == .temporary && !made.contains(id) {
      throw ABNError(
        .feed, "fetch \"\(program[id].name)\"", at: program[id].source,
        got: "a variable that this program does not make",
        wanted: "a result of one of its operations", fix: "Fetch it from the training program.")
    }
    let concrete = try pruned.specialized(to: shapes)
    try concrete.verify()
    try checkGradients(concrete, made: made)
    return concrete
  }

  /// A gradient has its variable's shape. Where sizes were unknown, an operation that broadcasts them now was
  /// differentiated as if they were equal.
  private static func checkGradients(_ program: Program, made: Set<VariableID>) throws {
    for id in made.sorted() where program[id].role != .state {
      let variable = program[id]
      guard let gradient = program.variable(named: "\(variable.name)@GRAD"),
        made.contains(gradient.id), gradient.shape != variable.shape
      else { continue }
      throw ABNError(
        .feed, "gradient of \"\(variable.name)\"", at: variable.source,
        got: "shape \(gradient.shape)", wanted: "the variable's, \(variable.shape)",
        fix:
          "Sizes that were unknown when the program was differentiated are broadcast now: declare a size of 1 as 1."
      )
    }
  }
}
