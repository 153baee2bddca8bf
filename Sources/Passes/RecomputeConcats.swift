import ABNGraph
import ABNOperators

/// Makes a concatenation once more in the backward pass where a gradient reads it and all of its
/// parts are kept anyway, or soon made again from what is: by reshaping, transposing, resizing, and
/// by a convolution of one tap whose result is larger than what it reads.
///
/// The way up of a network that segments joins maps that the way down keeps with maps made from
/// smaller ones: what is joined has no bytes of its own then until the backward pass comes to it.
/// The second concatenation has the bits of the first; it costs a way over memory, and what makes
/// its parts again.
package struct RecomputeConcats: ProgramPass {
  package let name = "recompute concatenations"

  /// The most operators that make one part again.
  private static let longest = 8

  /// The pass.
  package init() {}

  package func rewrite(_ program: Program, fetches: Set<VariableID>) throws -> RewrittenProgram {
    var list = OperatorList(program, fetches: fetches)
    var decisions: [PassDecision] = []
    for made in program.operators {
      guard made.role == .forward, made.kind is Concat else { continue }
      let y = made.outputs[0]
      guard list.isReadBackward(y), !list.isFetched(y), !list.hasAliases(y), !list.isOverwritten(y)
      else { continue }
      let later = list.readers(of: y).filter { list[$0].role != .forward }
      guard let first = later.first else { continue }
      var steps: [Operator] = []
      guard made.inputs.allSatisfy({ collect($0, before: first, list, into: &steps) })
      else { continue }
      let end = try insert(steps + [made], before: first, &list)
      for place in later { list.replace(y, by: end, in: place) }
      decisions.append(
        PassDecision(
          .recomputed, program[y], at: made,
          reason: MemoryReason.computedAgain(
            for: list.describe(first), from: program[made.inputs[0]].name)))
    }
    return list.finish(decisions, changed: !decisions.isEmpty)
  }

  /// Whether a variable is there before `first`, or can be made again by operators that are added
  /// to `steps`, in the order in which they run.
  private func collect(
    _ id: VariableID, before first: OperatorList.Place, _ list: OperatorList,
    into steps: inout [Operator]
  ) -> Bool {
    let variable = list.program[id]
    if variable.isPersistable {
      return list.writers(of: id).allSatisfy { list.precedes(first, $0) }
    }
    let isKept =
      variable.role == .data
      || list.readers(of: list.aliases(of: id)).contains {
        list[$0].role == .backward && list.precedes(first, $0)
      }
    // No gradient reads any more what is made again already.
    if isKept && !list.isOverwritten(id) { return true }
    guard steps.count < Self.longest, !list.isFetched(id), !list.isOverwritten(id),
      let place = list.maker(of: id), list[place].role == .forward,
      isMadeAgain(list[place], list.program)
    else { return false }
    guard
      list[place].inputs.allSatisfy({ collect($0, before: first, list, into: &steps) })
    else { return false }
    steps.append(list[place])
    return true
  }

  /// Whether an operator costs little beside what a gradient does with its result.
  private func isMadeAgain(_ op: Operator, _ program: Program) -> Bool {
    switch op.kind {
    case is Reshape, is Transpose, is Resize: return true
    case let conv as Conv2D:
      let (x, y) = (program[op.inputs[0]].type, program[op.outputs[0]].type)
      // Of one picture where their number is not known.
      func size(_ dimensions: [Int]) -> Int { dimensions.dropFirst().reduce(1, *) }
      let taps = program[op.inputs[1]].shape.dimensions.dropFirst(2)
      return taps.allSatisfy { $0 == 1 } && conv.groups == 1
        && size(y.shape.dimensions) > size(x.shape.dimensions)
    default: return false
    }
  }

  /// Appends operators of the backward pass; gives the result of the last.
  private func insert(
    _ steps: [Operator], before first: OperatorList.Place, _ list: inout OperatorList
  ) throws -> VariableID {
    var made: [Operator] = []
    var renamed: [VariableID: VariableID] = [:]
    for step in steps {
      let op = try list.program.makeOperator(
        step.kind, step.inputs.map { renamed[$0] ?? $0 }, role: .backward, layer: step.layer,
        source: step.source)
      renamed[step.outputs[0]] = op.outputs[0]
      made.append(op)
    }
    list.insert(made, before: first)
    return made.last!.outputs[0]
  }
}
