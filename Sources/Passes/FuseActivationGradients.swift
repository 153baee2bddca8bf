import ABNGraph
import ABNOperators
import ABNTensors

/// Makes one operator of the gradient of an activation that is not undone in place and that of the
/// in-place layer before it: of swish, gelu and their like behind `inplaceABN`.
///
/// Where both read the layer's output, and nobody else reads what goes from the one to the other:
/// the gradient of the activation is then taken while the layer's sums are, of elements that are in
/// a cache, and three tensors less move through memory.
package struct FuseActivationGradients: ProgramPass {
  package let name = "fuse activation gradients"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for place in list.places {
      let gradient = list[place]
      guard let kind = gradient.kind as? ActivateGradient,
        let reader = list.readers(of: gradient.outputs[0]).first,
        let fused = fusion(of: gradient, kind, list[reader], list)
      else { continue }
      let layer = list[reader]
      var inputs = layer.inputs
      inputs[1] = gradient.inputs[1]
      list.remove(place)
      list[reader] = try list.program.makeOperator(
        fused, inputs, role: layer.role, layer: layer.layer, source: layer.source,
        outputs: Dictionary(
          uniqueKeysWithValues: layer.outputs.enumerated().map { ($0.offset, $0.element) }))
      decisions.append(
        PassDecision(
          .fused, list.program[gradient.outputs[0]], at: layer, bytes: 0,
          reason: MemoryReason.goesBackThroughBoth(
            NamedOperator(kind: fused.name, layer: layer.layer))))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  private func fusion(
    of gradient: Operator, _ kind: ActivateGradient, _ layer: Operator, _ list: OperatorList
  ) -> InPlaceABNGradient? {
    let (y, dz, dy) = (gradient.inputs[0], gradient.inputs[1], gradient.outputs[0])
    // An activation that tells its derivative from its own result does not read y.
    guard !kind.forward.gradientReadsOutput, let own = layer.kind as? InPlaceABNGradient,
      own.outer == nil, layer.inputs[0] == y, layer.inputs[1] == dy, y != dz,
      list.hasOneReader(dy), list.aliases(of: dy) == [dy], !list.isFetched(dy),
      Set([y, dz, dy].map { list.program[$0].type }).count == 1
    else { return nil }
    return InPlaceABNGradient(of: own.forward, behind: kind.forward)
  }
}
