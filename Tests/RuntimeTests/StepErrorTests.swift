import InPlaceABN
import Testing

/// What a library refuses inside a step is the run's error, at the layer.
@Suite struct StepErrorTests {
  private struct Failing: Backend {
    let name = "failing"
    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      let buffer = BufferID(0)
      let place = SourceLocation(fileID: "Room/File.swift", line: 12)
      return LoweredProgram(
        steps: [
          Step(
            name: "product", layer: "fc_7", source: place, arguments: [.write(buffer)],
            sharing: []
          ) { _ in
            throw ABNError(.system, "oneDNN", got: "out of memory", wanted: "an execution")
          }
        ],
        buffers: [PlanBuffer(name: "y", bytes: 64, use: .activation, isFetched: true)], feeds: [],
        fetches: [], persistents: [])
    }
  }

  @Test func aFailingStep() throws {
    let executor = Executor(backend: Failing())
    for _ in 0..<2 {
      // Twice: the executor and the scope are free again after an error.
      let error = #expect(throws: ABNError.self) {
        try executor.run(Program(), scope: Scope())
      }
      #expect(
        error?.description.contains("product \"fc_7\": oneDNN (File.swift:12)") == true, "\(error!)"
      )
    }
  }
}
