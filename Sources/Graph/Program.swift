import ABNTensors
import Synchronization

// Counted in twos: the number after a program's is that of its clone for evaluation.
private let revisions = Atomic<UInt64>(2)
private let identities = Atomic<UInt64>(1)

/// A static graph: variables, and operators in the order in which they run.
///
/// A value: layers build one, passes turn one into another. Two programs with equal `revision` are
/// the same program. Every temporary is made by exactly one operator; parameters and state may be
/// updated by operators that also read them.
public struct Program: Sendable {
  /// All variables, by number.
  public private(set) var variables: [Variable] = []
  /// The operators in order.
  public private(set) var operators: [Operator] = []
  /// Changes with every change of the program.
  public private(set) var revision: UInt64 = 0
  /// State that ModelAverage averages along with the parameters that ask for it: moving statistics.
  package private(set) var averagedState: Set<VariableID> = []
  private var idByName: [String: VariableID] = [:]

  /// An empty program.
  public init() {}

  private mutating func touch() { revision = revisions.add(2, ordering: .relaxed).newValue }

  /// The variable with this number.
  public subscript(id: VariableID) -> Variable { variables[id.index] }

  /// The variable with this name.
  public func variable(named name: String) -> Variable? { idByName[name].map { self[$0] } }

  /// The variable with this name, or an error that names the nearest.
  public func requireVariable(named name: String) throws -> Variable {
    if let found = variable(named: name) { return found }
    throw ABNError(
      .name, "variable", got: quoted(name), wanted: "the name of a variable of the program",
      fix: didYouMean(
        name, in: variables.map(\.name), otherwise: "Print the program to see its variables."))
  }

  /// Whether the variable was made in this program, or in one that it is a copy of.
  package func owns(_ variable: Variable) -> Bool {
    variables.indices.contains(variable.id.index)
      && self[variable.id].identity == variable.identity
  }

  /// The variable as it is in this program.
  ///
  /// - Parameter source: the line that uses it, for the error.
  /// - Throws: `ABNError(.program)` for a variable of another program, with the line that made it.
  package func owned(_ variable: Variable, at source: SourceLocation? = nil) throws -> Variable {
    guard owns(variable) else {
      throw ABNError(
        .program, "variable \(quoted(variable.name))", at: source ?? variable.source,
        got: "a variable of another program, made at \(variable.source)",
        wanted: "a variable of this program", fix: "Make it in the same builder's build.")
    }
    return self[variable.id]
  }

  /// Parameters in the order in which they were made.
  public var parameters: [Variable] { variables.filter { $0.parameterTraits != nil } }

  /// Variables whose values outlive a run: parameters and state.
  public var persistables: [Variable] { variables.filter(\.isPersistable) }

  /// Adds a variable.
  ///
  /// - Throws: `ABNError(.name)` where the name is taken.
  package mutating func addVariable(
    named name: String, type: TensorType, role: VariableRole, source: SourceLocation,
    stopsGradient: Bool = false, isNameMadeUp: Bool = false
  ) throws -> Variable {
    try addVariable(
      named: name, type: type, role: role, source: source, stopsGradient: stopsGradient,
      isNameMadeUp: isNameMadeUp, identity: identities.add(1, ordering: .relaxed).newValue)
  }

  /// Adds a persistable of another program: both stand for the value that the scope has under its
  /// name.
  ///
  /// - Throws: `ABNError(.name)` where the name is taken.
  package mutating func addPersistable(sharing other: Variable) throws -> Variable {
    try addVariable(
      named: other.name, type: other.type, role: other.role, source: other.source,
      stopsGradient: other.stopsGradient, isNameMadeUp: other.isNameMadeUp,
      identity: other.identity)
  }

  private mutating func addVariable(
    named name: String, type: TensorType, role: VariableRole, source: SourceLocation,
    stopsGradient: Bool, isNameMadeUp: Bool, identity: UInt64
  ) throws -> Variable {
    if let taken = variable(named: name) {
      throw ABNError(
        .name, "variable \(quoted(name))", at: source,
        got: "a name that \(taken.source) uses already", wanted: "a name of its own",
        fix: "Choose another name.")
    }
    do {
      _ = try type.shape.validated("variable \(quoted(name))")
    } catch let error as ABNError {
      throw error.located(in: "", at: source)
    }
    let made = Variable(
      id: VariableID(variables.count), name: name, type: type, role: role, source: source,
      stopsGradient: stopsGradient, identity: identity, isNameMadeUp: isNameMadeUp)
    variables.append(made)
    idByName[name] = made.id
    touch()
    return made
  }

  /// Appends an operator: infers the types of its outputs and makes their variables.
  ///
  /// - Parameter outputNames: names for the outputs; made up from the layer's name where absent.
  /// - Throws: `ABNError` with the source line where the inputs do not fit.
  @discardableResult
  public mutating func append(
    _ kind: any OperatorKind, _ inputs: [VariableID], role: OperatorRole = .forward,
    layer: String, source: SourceLocation, outputNames: [String]? = nil
  ) throws -> [Variable] {
    let made = try makeOperator(
      kind, inputs, role: role, layer: layer, source: source, outputNames: outputNames)
    operators.append(made)
    touch()
    return made.outputs.map { self[$0] }
  }

  /// Appends an operator over variables of this program as it is.
  mutating func append(_ op: Operator) {
    operators.append(op)
    touch()
  }

  /// An operator over variables of this program, for a pass to put where it belongs; its outputs
  /// are made, but for those that `outputs` gives.
  ///
  /// - Throws: as `append`.
  package mutating func makeOperator(
    _ kind: any OperatorKind, _ inputs: [VariableID], role: OperatorRole, layer: String,
    source: SourceLocation, outputNames: [String]? = nil, outputs given: [Int: VariableID] = [:]
  ) throws -> Operator {
    guard inputs.allSatisfy({ variables.indices.contains($0.index) }) else {
      throw Self.foreign("\(kind.name) \(quoted(layer))", at: source)
    }
    let inputVariables = inputs.map { self[$0] }
    let types: [TensorType]
    do {
      types = try kind.outputTypes(for: inputVariables.map(\.type))
      if let given = outputNames?.count, given != types.count {
        throw ABNError(.name, "names of outputs", got: "\(given)", wanted: "\(types.count)")
      }
    } catch let error as ABNError {
      throw error.located(in: "\(kind.name) \(quoted(layer))", at: source)
    }
    let updated = Dictionary(
      kind.sharing.filter { $0.strength == .must && inputs.indices.contains($0.input) }
        .map { ($0.output, $0.input) }, uniquingKeysWith: { first, _ in first })
    var outputs: [VariableID] = []
    for (position, type) in types.enumerated() {
      if let known = given[position] ?? updated[position].map({ inputs[$0] }) {
        outputs.append(known)
        continue
      }
      let name = outputNames?[position] ?? freshName("\(layer).tmp")
      outputs.append(
        try addVariable(
          named: name, type: type, role: .temporary, source: source,
          stopsGradient: role != .forward
        ).id)
    }
    return Operator(
      kind: kind, inputs: inputs, outputs: outputs, role: role, source: source, layer: layer)
  }

  private func freshName(_ prefix: String) -> String {
    var number = variables.count
    while idByName["\(prefix)_\(number)"] != nil { number += 1 }
    return "\(prefix)_\(number)"
  }

  /// Gives a variable a further name by which it is found, if that is free; a temporary that has
  /// only the name made up for it is printed under it from then on.
  package mutating func addName(_ name: String, to id: VariableID) {
    guard idByName[name] == nil, variables.indices.contains(id.index) else { return }
    idByName[name] = id
    if variables[id.index].name.contains(".tmp_") { variables[id.index].name = name }
    touch()
  }

  /// Ends or lets through gradients at a variable.
  package mutating func setStopsGradient(_ id: VariableID, _ stops: Bool) {
    guard variables.indices.contains(id.index) else { return }
    variables[id.index].stopsGradient = stops
    touch()
  }

  /// Has ModelAverage average a state variable too, or not.
  package mutating func setDoModelAverage(_ id: VariableID, _ averages: Bool) {
    if averages { averagedState.insert(id) } else { averagedState.remove(id) }
    touch()
  }

  private static func foreign(_ what: String, at source: SourceLocation? = nil) -> ABNError {
    ABNError(
      .program, what, at: source, got: "a variable of another program",
      wanted: "variables of this program")
  }

  /// Throws where an operator, put in by `with(operators:)`, is over variables of another
  /// program.
  func checkNumbers() throws {
    for op in operators {
      let ids = op.inputs + op.outputs
      guard ids.allSatisfy({ variables.indices.contains($0.index) }) else {
        throw Self.foreign("\(op.kindName) \(quoted(op.layer))", at: op.source)
      }
    }
  }

  /// The same variables with other operators: what passes return.
  package func with(operators: [Operator]) -> Program {
    var copy = self
    copy.operators = operators
    copy.touch()
    return copy
  }

  /// The program with the shapes of its data known, every other shape inferred again.
  ///
  /// - Throws: `ABNError` at the line of the operator whose inputs do not fit, or whose outputs no
  ///   tensor can have.
  package func specialized(to shapes: [VariableID: Shape]) throws -> Program {
    try checkNumbers()
    var copy = self
    for (id, shape) in shapes {
      guard variables.indices.contains(id.index) else { throw Self.foreign("shape \(shape)") }
      copy.variables[id.index].type.shape = try shape.validated("data \(quoted(self[id].name))")
    }
    for op in copy.operators {
      let inputs = op.inputs.map { copy[$0].type }
      do {
        let types = try op.kind.outputTypes(for: inputs)
        for (id, type) in zip(op.outputs, types) where !copy[id].isPersistable {
          copy.variables[id.index].type = type
        }
      } catch let error as ABNError {
        throw error.located(
          in: "\(op.kindName) \(quoted(op.layer))", at: op.source)
      }
    }
    copy.touch()
    return copy
  }

  /// The program for evaluation: operators in test mode, no gradients, no updates.
  ///
  /// Clones of one program are the same program: an executor compiles the first of them only.
  public func cloned(forTest: Bool = true) -> Program {
    // A clone has an odd number, and is its own clone.
    guard forTest, revision % 2 == 0 else { return self }
    var clone = with(
      operators: operators.compactMap { op in
        guard op.role == .forward, let kind = op.kind.forTest() else { return nil }
        var clone = op
        clone.kind = kind
        if let count = op.kind.inputCountForTest {
          clone.inputs = Array(op.inputs.prefix(count))
        }
        // A kind in test mode may make fewer outputs: those it no longer makes are dropped.
        let types = try? kind.outputTypes(for: clone.inputs.map { self[$0].type })
        clone.outputs = Array(op.outputs.prefix(types?.count ?? op.outputs.count))
        return clone
      })
    clone.revision = revision + 1
    return clone
  }
}
