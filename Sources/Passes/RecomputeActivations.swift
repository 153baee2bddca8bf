import ABNGraph
import ABNOperators

/// Computes z = act(y) once more in the backward pass where a gradient reads z and y is kept
/// anyway: of an in-place layer whose activation cannot be inverted only y is stored, and of
/// sigmoid, tanh and elu, whose gradients read y, as many bytes as if they read z; the price is a
/// second evaluation.
///
/// The second z has the bits of the first: it comes from the same y. Where an in-place layer
/// overwrites y, z is kept instead and y restored for the activation's gradient.
package struct RecomputeActivations: ProgramPass {
  package let name = "recompute activations"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for made in program.operators {
      guard made.role == .forward, let kind = made.kind as? Activate, kind.isComputedAgain else {
        continue
      }
      let (y, z) = (made.inputs[0], made.outputs[0])
      let isOverwritten = list.readers(of: y).contains {
        list[$0].kind is InPlaceActivatedBatchNorm
      }
      if isOverwritten && !kind.readsKeptInput { continue }
      // A view of z would go on reading the first z.
      guard !list.hasAliases(z), !fetches.contains(z) else { continue }
      let later = list.readers(of: z).filter { list[$0].role != .forward }
      guard let first = later.first,
        list.readers(of: y).contains(where: { list[$0].role != .forward })
      else { continue }
      let again = try list.program.makeOperator(
        kind, [y], role: .backward, layer: made.layer, source: made.source)
      for index in later { list.replace(z, by: again.outputs[0], in: index) }
      list.insert([again], before: first)
      decisions.append(
        PassDecision(
          .recomputed, program[z], at: made,
          reason: MemoryReason.computedAgain(for: list.describe(first), from: program[y].name)))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }
}
