import ABNGraph
import ABNOperators
import ABNTensors

/// Makes one operator of the in-place layer and the activation right behind it that is not undone
/// in place, where the backward pass reads y: z is then made of elements that are in a cache, and a
/// tensor less moves through memory.
package struct FuseActivations: ProgramPass {
  package let name = "fuse activations"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for place in list.places.filter({ list[$0].kind is InPlaceActivatedBatchNorm }) {
      let layer = list[place]
      guard let kind = layer.kind as? InPlaceActivatedBatchNorm, layer.role == .forward,
        !kind.norm.isTest, list.isReadBackward(layer.outputs[0]),
        let reader = list.readers(of: layer.outputs[0]).first, list.next(place) == reader,
        let activate = list[reader].kind as? Activate, list[reader].role == .forward,
        let fused = InPlaceABNWithActivation(kind, behind: activate)
      else { continue }
      let outputs = layer.outputs + list[reader].outputs
      guard list.program[outputs[0]].type == list.program[outputs[outputs.count - 1]].type
      else { continue }
      list.remove(reader)
      list[place] = try list.program.makeOperator(
        fused, layer.inputs, role: layer.role, layer: layer.layer, source: layer.source,
        outputs: Dictionary(
          uniqueKeysWithValues: outputs.enumerated().map { ($0.offset, $0.element) }))
      decisions.append(
        PassDecision(
          .fused, list.program[outputs[outputs.count - 1]], at: layer, bytes: 0,
          reason: MemoryReason.makesBoth(
            NamedOperator(kind: fused.name, layer: layer.layer))))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }
}
