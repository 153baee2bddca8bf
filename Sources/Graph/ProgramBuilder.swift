import ABNTensors
import Synchronization

/// Two programs under construction: the main one, and the startup one that sets its persistables.
///
/// Layers append to `ProgramBuilder.current`: the builder whose `build` encloses the call, else one
/// default builder of the process.
public final class ProgramBuilder: Sendable {
  struct State: Sendable {
    var main = Program()
    var startup = Program()
    var counters: [String: Int] = [:]
    var streams: UInt64 = 0
  }

  @TaskLocal private static var enclosing: ProgramBuilder?
  private static let shared = ProgramBuilder()
  private let state = Mutex(State())

  /// Seeds initializers, dropout and all other random operators of the two programs.
  public let seed: UInt64

  /// What the names that the builder makes up begin with: of layers, of what they own, of an
  /// optimizer's state. Names of data, and those that a `ParamAttr` gives, stay as given: by the
  /// latter builders share parameters.
  public let prefix: String

  /// A builder with two empty programs.
  ///
  /// - Parameter prefix: begins the names that the builder makes up, `generator.fc_0.w_0` for
  ///   `"generator."`. Two networks whose values live in one `Scope` need two, or they train one
  ///   another's parameters.
  public init(seed: UInt64 = 0, prefix: String = "") {
    self.seed = seed
    self.prefix = prefix
  }

  /// The builder that layers append to.
  public static var current: ProgramBuilder { enclosing ?? shared }

  /// The program that is being built.
  public var main: Program { state.withLock { $0.main } }

  /// The program that initializes the persistables of `main`.
  public var startup: Program { state.withLock { $0.startup } }

  /// Runs `body` with this builder as the current one.
  public func build<R>(_ body: () throws -> R) rethrows -> R {
    try Self.$enclosing.withValue(self, operation: body)
  }

  /// Forgets both programs and all names.
  public func reset() { state.withLock { $0 = State() } }

  /// Changes the main program as a whole: what optimizers and passes do.
  package func replaceMain<R>(_ change: (inout Program) throws -> R) rethrows -> R {
    try state.withLock { try change(&$0.main) }
  }

  /// A name that does not begin with `prefix`, with it.
  package func prefixed(_ name: String) -> String { name.hasPrefix(prefix) ? name : prefix + name }

  /// `kind_0`, `kind_1`, ..., or the name given, after the builder's prefix.
  public func layerName(_ given: String?, kind: String) -> String {
    prefix + (given ?? state.withLock { "\(kind)_\($0.next(kind))" })
  }

  /// `layer.w_0`, `layer.w_1`, ...: the name of something that a layer owns.
  package func ownedName(layer: String, suffix: String) -> String {
    state.withLock { "\(layer).\(suffix)_\($0.next("\(layer).\(suffix)"))" }
  }

  /// The number of an independent stream of random numbers.
  package func nextStream() -> UInt64 {
    state.withLock { state in
      state.streams += 1
      return state.streams - 1
    }
  }

  /// Appends an operator to the main program.
  public func append(
    _ kind: any OperatorKind, _ inputs: [Variable], role: OperatorRole = .forward,
    layer: String, source: SourceLocation
  ) throws -> [Variable] {
    try state.withLock { state in
      let ids = try inputs.map { try state.main.owned($0, at: source).id }
      return try state.main.append(kind, ids, role: role, layer: layer, source: source)
    }
  }

  /// Adds data to the main program.
  package func addData(
    named name: String, type: TensorType, source: SourceLocation, stopsGradient: Bool
  ) throws -> Variable {
    try state.withLock { state in
      if self === Self.shared, let taken = state.main.variable(named: name) {
        throw ABNError(
          .name, "variable \(quoted(name)) of the process's default program", at: source,
          got: "a name that \(taken.source) uses already", wanted: "a name of its own",
          fix: "Build each network in a program of its own: try ProgramBuilder().build { ... }.")
      }
      return try state.main.addVariable(
        named: name, type: type, role: .data, source: source, stopsGradient: stopsGradient)
    }
  }

  /// Adds a persistable to the main program, and its initialization to the startup program.
  ///
  /// The same name again gives the same variable (shared parameters), if it is a persistable of
  /// this type: its role, traits and first value stay those of the layer that made it.
  ///
  /// - Parameter isNameMadeUp: whether nobody chose the name, so that another builder may make it
  ///   up too.
  /// - Throws: `ABNError(.name)` where the name is in use for something else.
  public func addPersistable(
    named name: String, type: TensorType, role: VariableRole, initializer: any OperatorKind,
    layer: String, source: SourceLocation, isNameMadeUp: Bool = false
  ) throws -> Variable {
    try state.withLock { state in
      if let existing = state.main.variable(named: name) {
        guard existing.isPersistable, existing.type == type else {
          throw ABNError(
            .name, "parameter \(quoted(name)) of \(quoted(layer))", at: source, got: "\(type)",
            wanted: "\(existing.type), as made at \(existing.source)",
            fix: "Give this parameter another name, or the same shape.")
        }
        return existing
      }
      let made = try state.main.addVariable(
        named: name, type: type, role: role, source: source, isNameMadeUp: isNameMadeUp)
      let target = try state.startup.addPersistable(sharing: made)
      try state.startup.appendInitializer(
        initializer, target: target.id, layer: layer, source: source)
      return made
    }
  }
}

extension ProgramBuilder.State {
  mutating func next(_ key: String) -> Int {
    let number = counters[key, default: 0]
    counters[key] = number + 1
    return number
  }
}

extension Program {
  /// Appends an operator without inputs that writes a persistable.
  mutating func appendInitializer(
    _ kind: any OperatorKind, target: VariableID, layer: String, source: SourceLocation
  ) throws {
    let types = try kind.outputTypes(for: [])
    guard types == [self[target].type] else {
      throw ABNError(
        .shape, "initializer of \(quoted(self[target].name))", at: source, got: "\(types)",
        wanted: "\(self[target].type)", fix: "Give the initializer values of that shape.")
    }
    append(
      Operator(
        kind: kind, inputs: [], outputs: [target], role: .forward, source: source, layer: layer))
  }
}

/// The main program of the current builder, as it stands.
public func defaultMainProgram() -> Program { ProgramBuilder.current.main }

/// The startup program of the current builder, as it stands.
public func defaultStartupProgram() -> Program { ProgramBuilder.current.startup }
