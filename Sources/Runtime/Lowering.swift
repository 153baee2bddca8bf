import ABNGraph
import ABNPlanning
import ABNTensors

/// What a backend has gathered when all operators of a program are lowered.
package protocol LoweredParts {
  /// The steps in order.
  var steps: [Step] { get }
  /// All buffers.
  var buffers: [PlanBuffer] { get }
  /// The bytes of parameters and state.
  var persistents: [VariableID: BufferID] { get }
  /// Those that must have a value before the run.
  var readBeforeWrite: Set<VariableID> { get }

  /// The row-major bytes of a variable, by a step where they stand in another order.
  mutating func rowMajorBuffer(of id: VariableID) throws -> BufferID
  /// The same, which the caller reads after the last step.
  mutating func fetch(_ id: VariableID) throws -> BufferID
}

extension LoweredProgram {
  /// The lowered program of nothing.
  package static var empty: LoweredProgram {
    LoweredProgram(steps: [], buffers: [], feeds: [], fetches: [], persistents: [])
  }

  /// The parts of a program's operators, with the ports of what enters and leaves.
  package init(
    _ parts: inout some LoweredParts, of program: Program, fetches: [VariableID]
  ) throws {
    func port(_ id: VariableID, _ buffer: BufferID) -> Port {
      Port(name: program[id].name, type: program[id].type, buffer: buffer)
    }
    let fetched = try fetches.map { port($0, try parts.fetch($0)) }
    let used = Set(program.operators.flatMap(\.inputs)).union(fetches)
    let fed = try program.variables.filter { $0.role == .data && used.contains($0.id) }.map {
      port($0.id, try parts.rowMajorBuffer(of: $0.id))
    }
    let persistents = parts.persistents.sorted { $0.key < $1.key }.map {
      (port: port($0, $1), isRead: parts.readBeforeWrite.contains($0))
    }
    self.init(
      steps: parts.steps, buffers: parts.buffers, feeds: fed, fetches: fetched,
      persistents: persistents)
  }
}

extension Program {
  /// Whether there is nothing to lower.
  ///
  /// - Throws: `ABNError(.program)` for fetches without operators, or of another program, and for
  ///   an illegal program; `.shape` unless every size is known: loops, kernels and tables are made
  ///   from them.
  package func isEmptyToLower(fetches: [VariableID]) throws -> Bool {
    guard !operators.isEmpty || !fetches.isEmpty else { return true }
    guard !operators.isEmpty else {
      throw ABNError(
        .program, "program", got: "no operators to compute the fetches",
        wanted: "at least one operator")
    }
    guard fetches.allSatisfy({ variables.indices.contains($0.index) }) else {
      throw ABNError(
        .program, "fetches", got: "a variable of another program",
        wanted: "variables of this program")
    }
    try verify()
    for op in operators {
      for id in op.inputs + op.outputs where !self[id].shape.isKnown {
        throw ABNError(
          .shape, "\(quoted(self[id].name)) of \(op.kindName)", at: op.source,
          got: "\(self[id].type)", wanted: "known sizes",
          fix: "Compile the program with an executor, which puts the shapes of the feeds in.")
      }
    }
    return false
  }
}

extension OperatorKind {
  /// The in-place hints of a step: the kind's `may` and `view` rules whose output the step writes
  /// and whose input it reads, each in the buffer that the operator has it in.
  package func sharingHints(
    of arguments: [StepArgument], outputs: [Int: BufferID], inputs: [Int: BufferID]
  ) -> [BufferSharing] {
    let reads = Set(arguments.filter { $0.access == .read }.map(\.buffer))
    let writes = Set(arguments.filter { $0.access == .write }.map(\.buffer))
    return sharing.compactMap { rule in
      guard rule.strength != .must, let output = outputs[rule.output],
        let input = inputs[rule.input], reads.contains(input), writes.contains(output)
      else { return nil }
      return BufferSharing(
        output: output, input: input, rule.strength == .view ? .view : .overwrite)
    }
  }
}
