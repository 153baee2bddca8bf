import ABNGraph
import ABNOperators
import ABNTensors

/// The result of differentiating: a program with the backward pass appended, and its gradients.
public struct Differentiated: Sendable {
  /// The program with operators of role `backward`.
  public let program: Program
  /// The gradient of each variable asked for; nil where the loss does not depend on it.
  public let gradients: [VariableID: Variable]
}

extension Program {
  private func requireGradientType(_ seed: Variable, of loss: Variable) throws {
    guard seed.dtype == loss.dtype, seed.shape.rank == loss.shape.rank,
      zip(seed.shape.dimensions, loss.shape.dimensions).allSatisfy({
        $0 < 0 || $1 < 0 || $0 == $1
      })
    else {
      throw ABNError(
        .program, "seed \(quoted(seed.name))", at: seed.source, got: "\(seed.type)",
        wanted: "\(loss.type), as the loss has")
    }
  }

  /// Appends the gradients of `loss`, in reverse mode, as operators of this program.
  ///
  /// Gradients end at variables that stop them (data, unless made otherwise) except where they are
  /// asked for by name in `variables`. The gradient of `v` is named `v@GRAD`.
  ///
  /// - Parameters:
  ///   - loss: a floating-point variable of one element.
  ///   - variables: those whose gradients are wanted; nil: all trainable parameters.
  ///   - seed: the gradient of `loss` itself, of its type; nil: 1.
  /// - Throws: `ABNError(.program)` where the loss has several elements, the seed another type, a
  ///   variable is of another program, or an operator on the way runs in test mode; `.unsupported`
  ///   where the loss depends on one of the variables through a gradient (of gradients there are
  ///   none), or through an operator that has none.
  public func differentiated(
    _ loss: Variable, withRespectTo variables: [Variable]? = nil, seed: Variable? = nil
  ) throws -> Differentiated {
    let loss = try owned(loss)
    let seed = try seed.map { try owned($0) }
    if let seed { try requireGradientType(seed, of: loss) }
    guard loss.dtype.isFloatingPoint,
      seed != nil || (loss.shape.isKnown && loss.shape.elementCount == 1)
    else {
      throw ABNError(
        .program, "loss \(quoted(loss.name))", at: loss.source, got: "\(loss.type)",
        wanted: "one floating-point element", fix: "Reduce it with mean or sum.")
    }
    let wanted =
      try variables?.map { try owned($0) }
      ?? parameters.filter { $0.parameterTraits?.trainable == true }
    var pass = try ReversePass(
      self, active: active(towards: loss, from: wanted), loss: loss, seed: seed)
    for op in operators.reversed() where op.role == .forward { try pass.appendGradients(of: op) }
    var found: [VariableID: Variable] = [:]
    for variable in wanted {
      found[variable.id] = try pass.gradient(of: variable.id, source: variable.source)
    }
    return Differentiated(program: pass.program, gradients: found)
  }

  /// Variables through which gradients flow from `loss` to one of `wanted`.
  ///
  /// - Throws: `ABNError(.unsupported)` where they would flow through an operator of a backward
  ///   pass: what is left out there would be missing from the sum without a word.
  private func active(towards loss: Variable, from wanted: [Variable]) throws -> Set<VariableID> {
    let asked = Set(wanted.map(\.id))
    // Values of a backward pass stop gradients, as nobody asks for them; whether one would flow is
    // seen here.
    func isOpen(_ id: VariableID, _ role: OperatorRole) -> Bool {
      !self[id].isPersistable && self[id].dtype.isFloatingPoint
        && (role == .backward || !self[id].stopsGradient || asked.contains(id))
    }
    var reached = asked
    for op in operators where op.role != .optimize {
      guard op.inputs.contains(where: reached.contains) else { continue }
      for id in op.outputs where isOpen(id, op.role) { reached.insert(id) }
    }
    var needed: Set<VariableID> = [loss.id]
    for op in operators.reversed() where op.role != .optimize {
      guard op.outputs.contains(where: needed.contains) else { continue }
      let typeOnly = op.kind.readsTypeOnly
      let read = op.inputs.enumerated().filter { !typeOnly.contains($0.offset) }
      needed.formUnion(op.role == .backward ? read.map(\.element) : op.inputs)
      guard op.role == .backward,
        op.outputs.contains(where: { needed.contains($0) && reached.contains($0) }),
        let through = read.first(where: { reached.contains($0.element) })
      else { continue }
      throw ABNError(
        .unsupported, "gradient of \(quoted(loss.name))", at: loss.source,
        got:
          "\(op.kindName) of a backward pass between it and \(quoted(self[through.element].name))",
        wanted: "a loss of forward operators: gradients of gradients are not there",
        fix: "Feed the gradient to a program of its own where it is to count as a constant.")
    }
    return reached.intersection(needed)
  }
}

/// A backward pass that is being appended, operator by operator from the last one.
private struct ReversePass {
  private(set) var program: Program
  /// Variables through which gradients flow.
  private let active: Set<VariableID>
  /// The contributions to a variable's gradient so far.
  private var pending: [VariableID: [Variable]]
  /// Their sums, where all readers of the variable are done.
  private var gradients: [VariableID: Variable] = [:]

  /// - Parameter seed: the gradient of the loss; nil: 1.
  init(
    _ program: Program, active: Set<VariableID>, loss: Variable, seed: Variable?
  ) throws {
    self.program = program
    self.active = active
    pending = [:]
    pending[loss.id] =
      try seed.map { [$0] }
      ?? self.program.append(
        FillConstant(1, type: loss.type), [], role: .backward, layer: loss.name,
        source: loss.source)
  }

  /// The sum of all contributions to a variable's gradient, once all its readers are done.
  mutating func gradient(of id: VariableID, source: SourceLocation) throws -> Variable? {
    if let done = gradients[id] { return done }
    guard let parts = pending[id], let first = parts.first else { return nil }
    let total =
      parts.count == 1
      ? first
      : try program.append(
        SumOf(), parts.map(\.id), role: .backward, layer: program[id].name, source: source)[0]
    program.addName("\(program[id].name)@GRAD", to: total.id)
    gradients[id] = program[total.id]
    return gradients[id]
  }

  /// Appends what an operator of the forward pass contributes to the gradients of its inputs.
  mutating func appendGradients(of op: Operator) throws {
    guard op.outputs.contains(where: { pending[$0] != nil && active.contains($0) }) else { return }
    let needs = op.inputs.map { active.contains($0) }
    guard needs.contains(true) else { return }
    var outputGradients: [Variable?] = []
    for id in op.outputs {
      outputGradients.append(
        program[id].isPersistable ? nil : try gradient(of: id, source: op.source))
    }
    // Handed over and given back: a second owner would make each append copy the whole program.
    let given = program
    program = Program()
    var context = GradientContext(
      program: consume given, op: op, outputGradients: outputGradients, needsGradient: needs)
    let results: [Variable?]
    do {
      results = try op.kind.gradients(&context)
    } catch let error as ABNError {
      throw error.located(in: "gradient of \(op.kindName) \(quoted(op.layer))", at: op.source)
    }
    program = context.finish()
    for (position, gradient) in results.enumerated() {
      guard let gradient, needs[position] else { continue }
      pending[op.inputs[position], default: []].append(gradient)
    }
  }
}
