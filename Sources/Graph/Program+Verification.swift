import ABNTensors

extension Program {
  /// Checks what every pass must keep.
  ///
  /// Every input of an operation is data, persistable, or made by an earlier operation; every
  /// temporary is made once; data is never written; persistables are written only under a `must`
  /// rule or by an operation without inputs (an initializer); types are what the kinds infer.
  ///
  /// - Throws: `ABNError(.program)` that names the operation and its source line.
  public func verify() throws {
    try checkNumbers()
    var made = Set<VariableID>()
    for operation in operations {
      func fail(_ got: String, _ wanted: String) -> ABNError {
        ABNError(
          .program, "\(operation.kindName) \"\(operation.layer)\"", at: operation.source, got: got,
          wanted: wanted, fix: "In: \(line(for: operation))")
      }
      let types: [TensorType]
      do {
        types = try operation.kind.outputTypes(for: operation.inputs.map { self[$0].type })
      } catch let error as ABNError {
        throw error.located(
          in: "\(operation.kindName) \"\(operation.layer)\"", at: operation.source)
      }
      for id in operation.inputs where self[id].role == .temporary && !made.contains(id) {
        throw fail("input \"\(self[id].name)\" before it is made", "operations in order")
      }
      let must = operation.kind.sharing.filter { $0.strength == .must }
      for (position, id) in operation.outputs.enumerated() {
        let variable = self[id]
        let rule = must.first { $0.output == position }
        if let rule,
          !operation.inputs.indices.contains(rule.input) || operation.inputs[rule.input] != id
        {
          throw fail("output \"\(variable.name)\"", "the input it must update")
        }
        switch variable.role {
        case .data: throw fail("data \"\(variable.name)\" as output", "data that is only read")
        case .parameter, .state:
          if rule == nil && !operation.inputs.isEmpty {
            throw fail("\"\(variable.name)\" written", "an update of one of its own inputs")
          }
        case .temporary:
          if !made.insert(id).inserted {
            throw fail("\"\(variable.name)\" made twice", "every temporary made once")
          }
        }
      }
      guard types.count == operation.outputs.count else {
        throw fail("\(operation.outputs.count) outputs", "\(types.count)")
      }
      for (id, type) in zip(operation.outputs, types) where type != self[id].type {
        throw fail("\"\(self[id].name)\": \(self[id].type)", "\(type)")
      }
    }
  }
}
