import ABNGraph

extension Program {
  /// The program without the operators whose results nobody sees: neither fetched, nor kept in a
  /// persistable, nor read by an operator that is itself needed.
  public func pruned(to fetches: some Sequence<VariableID>) -> Program {
    var needed = Set(fetches)
    var kept: [Operator] = []
    for op in operators.reversed() {
      let updates = op.outputs.contains { self[$0].isPersistable }
      guard updates || op.outputs.contains(where: needed.contains) else { continue }
      needed.formUnion(op.inputs)
      kept.append(op)
    }
    return kept.count == operators.count ? self : with(operators: kept.reversed())
  }

  /// The program with those operators only that write one of these persistables: what of a startup
  /// program sets them.
  package func setting(_ names: Set<String>) -> Program {
    with(operators: operators.filter { $0.outputs.contains { names.contains(self[$0].name) } })
  }
}
