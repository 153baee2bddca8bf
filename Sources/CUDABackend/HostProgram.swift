import ABNGraph
import ABNOperators
import ABNPlanning
import ABNRuntime
import ABNTensors

/// A startup program: it sets parameters and state to constants and random numbers and reads
/// nothing. The host computes the values, the same bits as for a run on the processor, and they are
/// uploaded.
struct HostProgram {
  /// One step, which is no step of the card.
  let lowered: LoweredProgram

  /// nil for a program that is none.
  init?(
    _ program: Program, fetches: [VariableID], host: any Backend, memory: CUDAMemory
  ) throws {
    let isStartup = program.operators.allSatisfy {
      $0.inputs.isEmpty
        && ($0.kind is RandomFill || $0.kind is FillConstant || $0.kind is AssignValue)
        && $0.outputs.allSatisfy { program[$0].isPersistable }
    }
    guard isStartup, fetches.isEmpty, let first = program.operators.first else { return nil }
    var written: [VariableID] = []
    for id in program.operators.flatMap(\.outputs) where !written.contains(id) {
      written.append(id)
    }
    let buffers = written.map {
      PlanBuffer(
        name: program[$0].name, bytes: program[$0].type.bytes, use: .persistent,
        origin: "\(program[$0].source)")
    }
    let names = written.map { program[$0].name }
    let step = Step(
      name: "startup", layer: first.layer, source: first.source,
      arguments: written.indices.map { .write(BufferID($0)) }, sharing: []
    ) { pointers in
      let scope = Scope()
      let executor = Executor(backend: host)
      try executor.run(program, scope: scope)
      for (index, name) in names.enumerated() {
        guard let value = scope[name] else { continue }
        try value.checked().withUnsafeBytes { bytes in
          try memory.copyIn(bytes, to: pointers[index])
        }
      }
    }
    var lowered = LoweredProgram(
      steps: [step], buffers: buffers, feeds: [], fetches: [],
      persistents: written.enumerated().map { index, id in
        (
          port: LoweredProgram.Port(
            name: program[id].name, type: program[id].type, buffer: BufferID(index)),
          isRead: false
        )
      })
    lowered.isRecordable = false
    self.lowered = lowered
  }
}
