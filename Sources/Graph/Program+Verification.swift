import ABNTensors

extension Program {
  /// Checks what every pass must keep.
  ///
  /// Every input of an operator is data, persistable, or made by an earlier operator; every
  /// temporary is made once; data is never written; persistables are written only under a `must`
  /// rule or by an operator without inputs (an initializer); types are what the kinds infer.
  ///
  /// - Throws: `ABNError(.program)` that names the operator and its source line.
  public func verify() throws {
    try checkNumbers()
    var made = Set<VariableID>()
    for op in operators {
      func fail(_ got: String, _ wanted: String) -> ABNError {
        ABNError(
          .program, "\(op.kindName) \(quoted(op.layer))", at: op.source, got: got,
          wanted: wanted, fix: "In: \(line(for: op))")
      }
      let types: [TensorType]
      do {
        types = try op.kind.outputTypes(for: op.inputs.map { self[$0].type })
      } catch let error as ABNError {
        throw error.located(
          in: "\(op.kindName) \(quoted(op.layer))", at: op.source)
      }
      for id in op.inputs where self[id].role == .temporary && !made.contains(id) {
        throw fail("input \(quoted(self[id].name)) before it is made", "operators in order")
      }
      let must = op.kind.sharing.filter { $0.strength == .must }
      for (position, id) in op.outputs.enumerated() {
        let variable = self[id]
        let rule = must.first { $0.output == position }
        if let rule,
          !op.inputs.indices.contains(rule.input) || op.inputs[rule.input] != id
        {
          throw fail("output \(quoted(variable.name))", "the input it must update")
        }
        switch variable.role {
        case .data: throw fail("data \(quoted(variable.name)) as output", "data that is only read")
        case .parameter, .state:
          if rule == nil && !op.inputs.isEmpty {
            throw fail("\(quoted(variable.name)) written", "an update of one of its own inputs")
          }
        case .temporary:
          if !made.insert(id).inserted {
            throw fail("\(quoted(variable.name)) made twice", "every temporary made once")
          }
        }
      }
      guard types.count == op.outputs.count else {
        throw fail("\(op.outputs.count) outputs", "\(types.count)")
      }
      for (id, type) in zip(op.outputs, types) where type != self[id].type {
        throw fail("\(quoted(self[id].name)): \(self[id].type)", "\(type)")
      }
    }
  }
}
