import ABNTensors

extension Program: CustomStringConvertible {
  /// One line a variable that is not a temporary, then one line an operation.
  public var description: String {
    var lines: [String] = []
    for variable in variables {
      let word: String
      switch variable.role {
      case .data: word = "data"
      case .parameter(let traits): word = traits.trainable ? "parameter" : "parameter (fixed)"
      case .state: word = "state"
      case .temporary: continue
      }
      lines.append("\(word) \(variable.name): \(variable.type)  // \(variable.source)")
    }
    var role: OperationRole?
    for operation in operations {
      if operation.role != role {
        role = operation.role
        lines.append("\(operation.role.rawValue):")
      }
      lines.append("  " + line(for: operation))
    }
    return lines.joined(separator: "\n")
  }

  /// `out: type = kind(inputs) {attributes}  // file:line`
  package func line(for operation: Operation) -> String {
    let outputs = operation.outputs.map { id in
      self[id].isPersistable ? self[id].name : "\(self[id].name): \(self[id].type)"
    }
    let inputs = operation.inputs.map { self[$0].name }
    let attributes = operation.kind.attributes.map { "\($0.name): \($0.value)" }
    return "\(outputs.joined(separator: ", ")) = \(operation.kindName)"
      + "(\(inputs.joined(separator: ", ")))"
      + (attributes.isEmpty ? "" : " {\(attributes.joined(separator: ", "))}")
      + "  // \(operation.source)"
  }
}
