import ABNGraph

extension Program {
  /// The program with every operator of role `optimize` as early as may be.
  ///
  /// An update directly after the last operator that its gradient needs lets go of the gradient's
  /// bytes before the next layer's gradient is made: gradients of different layers share memory.
  /// An operator of role `optimize` stays behind
  /// * whatever makes one of its inputs,
  /// * every forward or backward operator that reads or writes a variable that it updates (the
  ///   gradient of a convolution's input reads the weight of before the update),
  /// * every operator of role `optimize` that came before it and shares a variable with it that
  ///   one of the two writes.
  /// Operators of the other roles keep their order.
  func withEarlyUpdates() -> Program {
    let others = operators.filter { $0.role != .optimize }
    // For each variable: the number of `others` up to the last that writes it, or touches it.
    var written: [VariableID: Int] = [:]
    var touched: [VariableID: Int] = [:]
    for (index, op) in others.enumerated() {
      for id in op.inputs { touched[id] = index + 1 }
      for id in op.outputs {
        touched[id] = index + 1
        written[id] = index + 1
      }
    }
    var slots: [[Operator]] = Array(repeating: [], count: others.count + 1)
    for op in operators where op.role == .optimize {
      var slot = 0
      for id in op.inputs { slot = max(slot, written[id] ?? 0) }
      for id in op.outputs where self[id].isPersistable {
        slot = max(slot, touched[id] ?? 0)
      }
      for id in op.inputs { touched[id] = max(touched[id] ?? 0, slot) }
      for id in op.outputs {
        touched[id] = max(touched[id] ?? 0, slot)
        written[id] = max(written[id] ?? 0, slot)
      }
      slots[slot].append(op)
    }
    var result = slots[0]
    for (op, updates) in zip(others, slots.dropFirst()) {
      result.append(op)
      result += updates
    }
    return with(operators: result)
  }
}
