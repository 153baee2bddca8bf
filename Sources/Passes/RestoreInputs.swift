import ABNGraph
import ABNOperators

/// Lets in-place layers overwrite an input that is read again later.
///
/// In this order, for each layer:
/// 1. Readers of the forward pass that do not need the layer's result are moved before it.
/// 2. Gradients that tolerate a restored value get one, computed back from the layer's output once
///    nobody needs that any more; gradients that come earlier are moved behind that point.
/// 3. Otherwise the input is kept beside the output: a copy, with its reason.
///
/// Masks (`SaveMasks`) come first: a gradient that asks for a sign no longer reads the input then.
package struct RestoreInputs: ProgramPass {
  package let name = "restore inputs"

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    // What a layer's output is called after it was itself overwritten and restored.
    var restored: [VariableID: VariableID] = [:]
    var changed = false
    // Backwards: an output must be restored before the layer that made it can be undone.
    for made in program.operators.reversed() {
      guard made.role == .forward, let kind = made.kind as? InPlaceActivatedBatchNorm else {
        continue
      }
      let x = made.inputs[0]
      guard !program[x].isPersistable else { continue }
      var moves: [PassDecision] = []
      let refusal = try restore(kind, made, x, &list, &restored, &moves)
      changed = changed || !moves.isEmpty
      decisions += moves
      if let refusal {
        decisions.append(PassDecision(.copied, program[x], at: made, reason: refusal))
      }
    }
    return list.finish(decisions.reversed(), changed: changed)
  }

  /// Returns why the input must be kept; nil where nobody reads it later any more.
  private func restore(
    _ kind: InPlaceActivatedBatchNorm, _ made: Operator, _ x: VariableID,
    _ list: inout OperatorList, _ restored: inout [VariableID: VariableID],
    _ moves: inout [PassDecision]
  ) throws -> MemoryReason? {
    let z = made.outputs[0]
    let layer = list.maker(of: z)!
    // Every reader would be moved before each of the layers in turn.
    let mostReaders = 64
    if list.readerCount(ofViews: x) > mostReaders {
      return .manyReaders(limit: mostReaders)
    }
    func later(_ ids: Set<VariableID>) -> [OperatorList.Place] {
      list.readers(of: ids).filter { list.precedes(layer, $0) }
    }
    let aliases = list.aliases(of: x)
    if list.isFetched(x) { return .isFetched }
    if let reader = later(aliases.subtracting([x])).first {
      return .isViewed(by: list.describe(reader))
    }

    // 1. Readers of the forward pass.
    let forward = later([x]).filter { list[$0].role == .forward }
    if let reason = moveReaders(forward, of: x, before: layer, made, &list, &moves) {
      return reason
    }

    // 2. Gradients.
    let gradients = later([x])
    if gradients.isEmpty { return nil }
    if let exact = gradients.first(where: { !list.tolerates($0, x) }) {
      return .needsExactBits(list.describe(exact))
    }
    let held = restored[z] ?? z
    let parameters = Set([made.inputs[1], made.inputs[2]] + kind.slopeInput(of: made))
    let readers = list.readers(of: list.aliases(of: z).union([held]))
    guard let last = readers.last, list.precedes(layer, last) else {
      return .outputIsNotKept
    }
    let position = list.next(last)
    let early = gradients.filter { list.precedes($0, position) }
    // What updates scale and bias must stay behind the inversion that reads them.
    let updates = parameters.sorted().flatMap { list.writers(of: $0) }.filter {
      list.precedes(layer, $0) && list.precedes($0, position)
    }
    guard
      let place = list.delay(Set(early + updates), to: position, fixed: Set(readers))
    else {
      return .mustComeBefore(
        list.describe(early.first ?? updates[0]), reader: list.describe(last))
    }
    let undo = try list.program.makeOperator(
      RestoreInput(of: kind),
      [held, made.inputs[1], made.inputs[2], made.outputs[1]] + kind.slopeInput(of: made),
      role: .backward, layer: made.layer, source: made.source)
    let readersOfX = later([x])
    for index in readersOfX { list.replace(x, by: undo.outputs[0], in: index) }
    let names = readersOfX.map { list.describe($0) }
    list.insert([undo], before: place)
    restored[x] = undo.outputs[0]
    moves.append(
      PassDecision(
        .restored, list.program[x], at: made,
        reason: MemoryReason.computedBack(
          over: made.kindName, for: names, delayed: early.count)))
    return nil
  }

  /// Moves readers of the input before the layer. Returns why the input must be kept where one
  /// cannot be moved.
  private func moveReaders(
    _ readers: [OperatorList.Place], of x: VariableID, before layer: OperatorList.Place,
    _ made: Operator, _ list: inout OperatorList, _ moves: inout [PassDecision]
  ) -> MemoryReason? {
    for reader in readers {
      // It may have moved with one before it.
      guard list.precedes(layer, reader) else { continue }
      let who = list.describe(reader)
      guard let count = list.advance(reader, to: layer) else { return .readerNeedsResult(who) }
      moves.append(
        PassDecision(
          .movedReader, list.program[x], at: made,
          reason: MemoryReason.runsBefore(who, others: count - 1)))
    }
    return nil
  }
}

extension InPlaceActivatedBatchNorm {
  /// The slopes of prelu among an operator's inputs.
  fileprivate func slopeInput(of op: Operator) -> [VariableID] {
    activation == .prelu ? [op.inputs[5]] : []
  }
}
