import ABNGraph

extension Program {
  /// The program without the operations whose results nobody sees: neither fetched, nor kept in a
  /// persistable, nor read by an operation that is itself needed.
  public func pruned(to fetches: some Sequence<VariableID>) -> Program {
    var needed = Set(fetches)
    var kept: [Operation] = []
    for operation in operations.reversed() {
      let updates = operation.outputs.contains { self[$0].isPersistable }
      guard updates || operation.outputs.contains(where: needed.contains) else { continue }
      needed.formUnion(operation.inputs)
      kept.append(operation)
    }
    return kept.count == operations.count ? self : with(operations: kept.reversed())
  }

  /// The program with those operations only that write one of these persistables: what of a startup
  /// program sets them.
  package func setting(_ names: Set<String>) -> Program {
    with(operations: operations.filter { $0.outputs.contains { names.contains(self[$0].name) } })
  }
}
