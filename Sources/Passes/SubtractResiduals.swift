import ABNGraph
import ABNOperators
import ABNTensors

/// Stores one tensor at the end of a residual block instead of three: of u = abn(x), s = u + v and
/// z = act(s) only z stays, and u = act^-1(z) - v is computed back for the layer's gradient.
///
/// Done where it lets go of u and keeps nothing new: z and v are read by gradients anyway. Of two
/// terms that are both in-place layers the one is let go whose gradient comes first.
package struct SubtractResiduals: ProgramPass {
  package let name = "subtract residuals"
  /// Elements of one sample and channel below which keeping a plane costs more than it saves.
  static let leastPlane = 16

  /// The pass.
  package init() {}

  /// A sum that can be undone.
  private struct Candidate {
    let sum: Int
    let activation: Int?
    let layer: Operator
    let kind: ResidualSum
    let u: VariableID
    let v: VariableID
    let z: VariableID
    /// The gradient that reads u.
    let gradient: Int
  }

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for op in program.operators {
      guard op.role == .forward, let kind = op.kind as? Elementwise,
        kind.function == .add, let sum = list.maker(of: op.outputs[0]),
        list[sum].kind is Elementwise,
        let found = candidate(sum, list)
      else { continue }
      decisions.append(try apply(found, &list))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  private func candidate(_ sum: Int, _ list: OperatorList) -> Candidate? {
    let op = list[sum]
    let s = op.outputs[0]
    let types = (op.inputs + [s]).map { list.program[$0].type }
    guard Set(types).count == 1, types[0].dtype == .float32 || types[0].dtype == .float64,
      op.inputs[0] != op.inputs[1]
    else { return nil }
    // The activation after the sum, if it alone reads the sum.
    var activation: Int?
    let readers = list.readers(of: list.aliases(of: s))
    if !list.isFetched(s), readers.count == 1,
      let kind = list[readers[0]].kind as? Activate, kind.gradientReadsOutput
    {
      activation = readers[0]
    }
    let z = activation.map { list[$0].outputs[0] } ?? s
    guard isKept(z, list), !isOverwritten(z, list) else { return nil }

    let options = [(0, 1), (1, 0)].compactMap { first, second -> Candidate? in
      let (u, v) = (op.inputs[first], op.inputs[second])
      guard let maker = list.maker(of: u), !list.hasAliases(u), !list.isFetched(u),
        let layer = list[maker].kind as? InPlaceActivatedBatchNorm,
        let kind = ResidualSum(
          after: layer, activation: activation.map { list[$0].kind as! Activate })
      else { return nil }
      let shape = list.program[u].shape
      let channels = shape[layer.norm.layout.channelAxis(rank: shape.rank)]
      guard shape.elementCount >= Self.leastPlane * shape[0] * channels else { return nil }
      let others = list.readers(of: u).filter { $0 != sum }
      guard others.count == 1, list[others[0]].kind is InPlaceABNGradient,
        list[others[0]].inputs[0] == u,
        isKept(v, list), !isOverwritten(v, list)
      else { return nil }
      return Candidate(
        sum: sum, activation: activation, layer: list[maker], kind: kind, u: u, v: v,
        z: z, gradient: others[0])
    }
    return options.min { list.precedes($0.gradient, $1.gradient) }
  }

  /// Whether a gradient reads a variable's value.
  private func isKept(_ id: VariableID, _ list: OperatorList) -> Bool {
    list.isReadBackward(id)
  }

  /// Whether an in-place layer would like to overwrite a variable.
  private func isOverwritten(_ id: VariableID, _ list: OperatorList) -> Bool {
    list.isOverwritten(id)
  }

  private func apply(_ found: Candidate, _ list: inout OperatorList) throws -> PassDecision {
    let old = list[found.sum]
    let sum = try list.program.makeOperator(
      found.kind, [found.u, found.v, found.layer.inputs[1], found.layer.outputs[1]],
      role: .forward, layer: old.layer, source: old.source, outputs: [0: found.z])
    let term = try list.program.makeOperator(
      ResidualTerm(of: found.kind), [found.z, found.v], role: .backward, layer: old.layer,
      source: old.source)
    list.replace(found.u, by: term.outputs[0], in: found.gradient)
    list.insert([term], before: found.gradient)
    if let activation = found.activation { list.remove(activation) }
    list[found.sum] = sum
    return PassDecision(
      .subtracted, list.program[found.u], at: found.layer,
      reason: MemoryReason.termOfSum(
        layer: old.layer, sum: list.program[found.z].name, other: list.program[found.v].name,
        for: NamedOperator(kind: InPlaceABNGradient.kindName, layer: found.layer.layer)))
  }
}
