import ABNGraph
import ABNRuntime
import ABNTensors
import InPlaceABN
import Testing

@Suite struct FloorMeasuringTests {
  @Test func pairsOfBytesMoveInPlace() {
    let rates = MachineRates(readRate: 10, inPlaceRate: 4)
    #expect(rates.seconds(reading: 20, writing: 0) == 2)
    #expect(rates.seconds(reading: 20, writing: 20) == 10)
    #expect(rates.seconds(reading: 40, writing: 20) == 12)
    #expect(rates.seconds(reading: 0, writing: 0) == 0)
  }

  /// A backend that lowers as the processor's does, and measures nothing.
  private struct Unmeasured: Backend {
    let name = "unmeasured"

    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      try CPUBackend().lower(program, fetches: fetches)
    }
  }

  @Test func aBackendMayMeasureNoFloor() throws {
    let error = #expect(throws: ABNError.self) {
      try timeModel(
        .lenet, norm: .inplace, pass: .inference, image: [1, 28, 28], batchSize: 2, steps: 1,
        backend: Unmeasured())
    }
    #expect(error?.category == .unsupported)
    #expect(error?.description.contains("\"unmeasured\"") == true)
    let timed = try timeModel(
      .lenet, norm: .inplace, pass: .inference, image: [1, 28, 28], batchSize: 2, steps: 1,
      measuresFloor: false, backend: Unmeasured())
    #expect(timed.timing.floorSeconds == 0 && timed.timing.threads == 1)
  }
}
