import ABNGraph
import ABNOperators
import ABNTensors

/// Computes the ends of residual blocks, z = act(u + v), once more in the backward pass where u is
/// kept anyway and v is too, or is such an end itself: u is what the gradient of the block's last
/// in-place layer reads, v is the block before.
///
/// The second z has the bits of the first. The ends of one stage, which hang on one another, are
/// computed when the backward pass comes to that stage, so that no more than one stage's are alive
/// at a time. What it costs is a way over memory for each. For elements of 16 bits, of which a term
/// cannot be computed back from the sum, and for backends to which exact bits are worth that way.
package struct RecomputeSums: ProgramPass {
  package let name = "recompute sums"

  /// The pass.
  package init() {}

  /// A sum that may be computed again, and the activation behind it.
  private struct Candidate {
    let sum: Operator
    let activation: Operator?
    let z: VariableID
  }

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var candidates: [Candidate] = []
    var again = Set<VariableID>()
    for op in program.operators {
      guard let found = candidate(op, list, again) else { continue }
      candidates.append(found)
      again.insert(found.z)
    }
    var decisions: [PassDecision] = []
    // The last first: what computes it again is the first reader of the one before, going back.
    for candidate in candidates.reversed() {
      guard let first = list.readers(of: candidate.z).first(where: { list[$0].role != .forward })
      else { continue }
      try insert(candidate, before: first, &list)
      decisions.append(
        PassDecision(
          .recomputed, program[candidate.z], at: candidate.sum,
          reason: MemoryReason.computedAgain(
            for: list.describe(first), from: program[candidate.sum.inputs[0]].name)))
    }
    return list.finish(decisions.reversed(), changed: !decisions.isEmpty)
  }

  private func candidate(
    _ op: Operator, _ list: OperatorList, _ again: Set<VariableID>
  ) -> Candidate? {
    guard op.role == .forward, let kind = op.kind as? Elementwise,
      kind.function == .add, list.maker(of: op.outputs[0]) != nil,
      Set((op.inputs + op.outputs).map { list.program[$0].type }).count == 1
    else { return nil }
    let s = op.outputs[0]
    var (z, activation): (VariableID, Operator?) = (s, nil)
    if list.hasOneReader(s), !list.isFetched(s), !list.hasAliases(s),
      let reader = list.readers(of: s).first, list[reader].role == .forward,
      list[reader].kind is Activate
    {
      (z, activation) = (list[reader].outputs[0], list[reader])
    }
    guard list.isReadBackward(z), !list.isFetched(z), !list.hasAliases(z), !list.isOverwritten(z)
    else { return nil }
    func isThere(_ id: VariableID) -> Bool {
      again.contains(id)
        || list.isReadBackward(id) && !list.isOverwritten(id)
          && (list.program[id].role == .temporary || list.program[id].role == .data)
    }
    guard op.inputs.allSatisfy(isThere) else { return nil }
    return Candidate(sum: op, activation: activation, z: z)
  }

  private func insert(
    _ candidate: Candidate, before first: OperatorList.Place, _ list: inout OperatorList
  ) throws {
    let later = list.readers(of: candidate.z).filter { list[$0].role != .forward }
    let sum = candidate.sum
    var made = [
      try list.program.makeOperator(
        sum.kind, sum.inputs, role: .backward, layer: sum.layer, source: sum.source)
    ]
    if let activation = candidate.activation {
      made.append(
        try list.program.makeOperator(
          activation.kind, made[0].outputs, role: .backward, layer: activation.layer,
          source: activation.source))
    }
    for place in later { list.replace(candidate.z, by: made.last!.outputs[0], in: place) }
    _ = list.insert(made, before: first)
  }
}
