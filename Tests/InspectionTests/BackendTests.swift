import ABNTestSupport
import InPlaceABN
import Testing

/// Whatever plans or measures a program asks the backend that it was given.
@Suite struct BackendTests {
  private let backend = CountingBackend()

  @Test func reportsAndMeasurementsAskTheGivenOne() throws {
    _ = try ModelPlan(
      of: .lenet, options: ModelOptions(classes: 10), image: [1, 28, 28], batchSize: 2,
      backend: backend)
    #expect(backend.wasUsed())
    _ = try Model.lenet.cost(plansMemory: true, backend: backend)
    #expect(backend.wasUsed())
    _ = try measureMemory(
      of: .lenet, norm: .inplace, image: [1, 28, 28], batchSize: 2, steps: 1, backend: backend)
    #expect(backend.wasUsed())
    let timing = try timeModel(
      .lenet, options: ModelOptions(classes: 10), pass: .training, image: [1, 28, 28], batchSize: 2,
      steps: 1,
      measuresFloor: false, backend: backend
    ).timing
    #expect(backend.wasUsed())
    #expect(timing.threads == backend.threads)
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
        .lenet, options: ModelOptions(classes: 10), pass: .inference, image: [1, 28, 28],
        batchSize: 2, steps: 1,
        backend: Unmeasured())
    }
    #expect(error?.category == .unsupported)
    #expect(error?.description.contains("\"unmeasured\"") == true)
    let timed = try timeModel(
      .lenet, options: ModelOptions(classes: 10), pass: .inference, image: [1, 28, 28],
      batchSize: 2, steps: 1,
      measuresFloor: false, backend: Unmeasured())
    #expect(timed.timing.floorSeconds == 0 && timed.timing.threads == 1)
  }
}
