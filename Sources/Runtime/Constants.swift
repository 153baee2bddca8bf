import ABNPlanning

extension LoweredProgram {
  /// Which steps depend on nothing but parameters and state that the program does not change:
  /// weights put into the layout of a convolution, a normalization folded into them.
  ///
  /// A step that reads nothing is not among them: it costs little, and its result may be large.
  var constantSteps: [Bool] {
    let written = Set(
      steps.flatMap { $0.arguments.filter { $0.access != .read }.map(\.buffer) })
    var constant = Set(
      buffers.indices.map { BufferID($0) }.filter {
        buffers[$0.index].use == .persistent && !written.contains($0)
      })
    return steps.map { step in
      let reads = step.arguments.filter { $0.access == .read }
      let writes = step.arguments.filter { $0.access == .write }.map(\.buffer)
      let isConstant =
        !reads.isEmpty && reads.count + writes.count == step.arguments.count
        && reads.allSatisfy { constant.contains($0.buffer) }
        && writes.allSatisfy { buffers[$0.index].use != .persistent }
      if isConstant { constant.formUnion(writes) }
      return isConstant
    }
  }

  /// The program with the results of constant steps outside the arena, where another step or the
  /// caller reads them; and which steps those are.
  func keepingConstants() -> (program: LoweredProgram, isConstant: [Bool]) {
    let isConstant = constantSteps
    guard isConstant.contains(true) else { return (self, isConstant) }
    var made = Set<BufferID>()
    var read = Set(fetches.map(\.buffer))
    for (step, isConstant) in zip(steps, isConstant) {
      for argument in step.arguments {
        if isConstant, argument.access == .write { made.insert(argument.buffer) }
        if !isConstant { read.insert(argument.buffer) }
      }
    }
    var result = self
    for id in made.intersection(read) { result.buffers[id.index].use = .constant }
    return (result, isConstant)
  }
}
