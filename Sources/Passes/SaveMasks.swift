import ABNGraph
import ABNOperators
import ABNTensors

/// Keeps one bit an element for the gradient of relu, relu6 and leaky_relu where the output is not
/// needed for anything else later, or is overwritten by an in-place layer: a restored value may be
/// off by its last digit, and these gradients hang on the sign.
package struct SaveMasks: ProgramPass {
  package let name = "save masks"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for made in program.operators {
      guard made.role == .forward, let kind = made.kind as? Activate,
        MaskedActivate.canReplace(kind)
      else { continue }
      let y = made.outputs[0]
      guard let place = list.maker(of: y), !list.hasAliases(y), !fetches.contains(y) else {
        continue
      }
      let readers = list.readers(of: y)
      let later = readers.filter { list[$0].role != .forward }
      /// Whether a reader is this activation's own gradient, which looks at the output.
      func isOwn(_ reader: Int) -> Bool {
        (list[reader].kind as? ActivateGradient)?.forward.gradientReadsOutput == true
      }
      let exact = later.filter(isOwn)
      let others = later.filter { !isOwn($0) }
      let isOverwritten = readers.contains {
        list[$0].kind is InPlaceActivatedBatchNorm
      }
      // Without the mask, y would have to be kept for its own gradient alone.
      guard !exact.isEmpty,
        others.isEmpty || (isOverwritten && others.allSatisfy { list.tolerates($0, y) })
      else { continue }
      let masked = try list.program.makeOperator(
        MaskedActivate(kind), made.inputs, role: .forward, layer: made.layer, source: made.source,
        outputs: [0: y])
      list[place] = masked
      for reader in exact {
        let old = list[reader]
        list[reader] = try list.program.makeOperator(
          MaskedActivateGradient(of: kind), [masked.outputs[1], old.inputs[1]], role: old.role,
          layer: old.layer, source: old.source, outputs: [0: old.outputs[0]])
      }
      let mask = list.program[masked.outputs[1]].type.bytes
      decisions.append(
        PassDecision(
          .masked, program[y], at: made, bytes: program[y].type.bytes - mask,
          reason: MemoryReason.signOnly(bytes: mask)))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }
}
