import ABNTensors

extension Program: CustomStringConvertible {
  /// One line a variable that is not a temporary, then one line an operator.
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
    var role: OperatorRole?
    for op in operators {
      if op.role != role {
        role = op.role
        lines.append("\(op.role.rawValue):")
      }
      lines.append("  " + line(for: op))
    }
    return lines.joined(separator: "\n")
  }

  /// `out: type = kind(inputs) {attributes}  // file:line`
  package func line(for op: Operator) -> String {
    let outputs = op.outputs.map { id in
      self[id].isPersistable ? self[id].name : "\(self[id].name): \(self[id].type)"
    }
    let inputs = op.inputs.map { self[$0].name }
    let attributes = op.kind.attributes.map { "\($0.name): \($0.value)" }
    return "\(outputs.joined(separator: ", ")) = \(op.kindName)"
      + "(\(inputs.joined(separator: ", ")))"
      + (attributes.isEmpty ? "" : " {\(attributes.joined(separator: ", "))}")
      + "  // \(op.source)"
  }
}
