import ABNGraph
import ABNOperators
import ABNTensors

/// The passes that save a training step passes over memory, for the same bits.
public let trainingPasses: [any ProgramPass] = [
  FuseGradientSums(), FuseActivationGradients(), FuseActivations(),
]

/// Makes one operator of the sum of a value's two gradients and the gradient of the activation
/// that made the value: the start of every residual block's backward pass.
///
/// Where the sum has two parts, nobody else reads it, and the activation's gradient follows it
/// directly: then nothing is alive longer than before. A sum of 16 bits is no longer rounded before
/// the derivative is applied.
package struct FuseGradientSums: ProgramPass {
  package let name = "fuse gradient sums"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for place in list.places.dropLast().reversed() {
      let behind = list.next(place)
      let (sum, gradient) = (list[place], list[behind])
      guard sum.kind is SumOf, sum.inputs.count == 2, let kind = gradient.kind as? ActivateGradient,
        let fused = ActivateGradientOfSum(of: kind.forward), gradient.inputs[1] == sum.outputs[0],
        canFuse(sum, list)
      else { continue }
      list.remove(place)
      list[behind] = try list.program.makeOperator(
        fused, [gradient.inputs[0]] + sum.inputs, role: gradient.role, layer: gradient.layer,
        source: gradient.source, outputs: [0: gradient.outputs[0]])
      decisions.append(
        PassDecision(
          // The sum stood over one of its parts: what is saved is a way over memory, no bytes.
          .fused, list.program[sum.outputs[0]], at: gradient, bytes: 0,
          reason: MemoryReason.addsParts(
            NamedOperator(kind: fused.name, layer: gradient.layer))))
    }
    return list.finish(decisions.reversed(), changed: !decisions.isEmpty)
  }

  private func canFuse(_ sum: Operator, _ list: OperatorList) -> Bool {
    let id = sum.outputs[0]
    let types = Set((sum.inputs + [id]).map { list.program[$0].type })
    guard let dtype = types.first?.dtype else { return false }
    return types.count == 1 && dtype.isFloatingPoint
      && list.hasOneReader(id) && !list.hasAliases(id) && !list.isFetched(id)
  }
}
