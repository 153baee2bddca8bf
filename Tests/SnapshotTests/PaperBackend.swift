import InPlaceABN

/// A backend that plans and never runs: one step an operator, every variable row-major, no scratch. What it plans
/// depends on the program alone, not on the processor or on oneDNN.
struct PaperBackend: Backend {
  let name = "paper"
  let passes = CPUBackend().passes

  func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
    var sheet = Sheet(program: program)
    for op in program.operators { sheet.append(op) }
    let ports = fetches.map { id in
      let buffer = sheet.buffer(of: id)
      sheet.buffers[buffer.index].isFetched = true
      return LoweredProgram.Port(name: program[id].name, type: program[id].type, buffer: buffer)
    }
    let feeds = program.variables.filter { $0.role == .data && sheet.ids[$0.id] != nil }.map {
      LoweredProgram.Port(name: $0.name, type: $0.type, buffer: sheet.buffer(of: $0.id))
    }
    return LoweredProgram(
      steps: sheet.steps, buffers: sheet.buffers, feeds: feeds, fetches: ports, persistents: [])
  }

  private struct Sheet {
    let program: Program
    var steps: [Step] = []
    var buffers: [PlanBuffer] = []
    var ids: [VariableID: BufferID] = [:]

    mutating func buffer(of id: VariableID, isGradient: Bool = false) -> BufferID {
      if let known = ids[id] { return known }
      let variable = program[id]
      let use: BufferUse =
        variable.isPersistable
        ? .persistent : variable.role == .data ? .feed : isGradient ? .gradient : .activation
      buffers.append(PlanBuffer(name: variable.name, bytes: variable.type.bytes, use: use))
      ids[id] = BufferID(buffers.count - 1)
      return ids[id]!
    }

    mutating func append(_ op: Operator) {
      let kind = op.kind
      let inputs = op.inputs.map { buffer(of: $0) }
      let outputs = op.outputs.map {
        buffer(of: $0, isGradient: op.role != .forward)
      }
      let reads = inputs.indices.filter { !kind.readsTypeOnly.contains($0) }.map { inputs[$0] }
      let read = Set(reads).subtracting(outputs)
      var arguments: [StepArgument] = []
      for buffer in Set(reads + outputs).sorted() {
        let isWritten = outputs.contains(buffer)
        arguments.append(
          !isWritten ? .read(buffer) : reads.contains(buffer) ? .update(buffer) : .write(buffer))
      }
      let sharing = kind.sharing.filter {
        // In a program for evaluation a kind may have fewer inputs and outputs than its rules name.
        $0.strength != .must && inputs.indices.contains($0.input)
          && outputs.indices.contains($0.output) && read.contains(inputs[$0.input])
      }.map {
        BufferSharing(
          output: outputs[$0.output], input: inputs[$0.input],
          $0.strength == .view ? .view : .overwrite)
      }
      steps.append(
        Step(
          name: op.kindName, layer: op.layer, source: nil, arguments: arguments,
          sharing: sharing
        ) { _ in throw ABNError(.unsupported, "paper", got: "a run", wanted: "a plan") })
    }
  }
}
