import ABNTestSupport
import Foundation
import InPlaceABN
import Synchronization
import Testing

/// Whatever runs or plans a program does so on the backend that it was given.
@Suite struct BackendTests {
  /// Lowers as the processor's does, and counts the operations that it lowers.
  private final class Counting: Backend {
    let name = "counting"
    private let lowered = Mutex(0)
    private let inner = CPUBackend()

    var passes: [any ProgramPass] { inner.passes }
    /// Other than the processor's, so that whoever asks elsewhere is seen.
    var threads: Int { 1000 + inner.threads }

    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      lowered.withLock { $0 += program.operations.count }
      return try inner.lower(program, fetches: fetches)
    }

    /// Whether anything has been lowered since the last call.
    func wasUsed() -> Bool {
      lowered.withLock { count in
        defer { count = 0 }
        return count > 0
      }
    }
  }

  private let backend = Counting()

  @Test func modelsAndTheLoopRunOnTheGivenOne() throws {
    let folder = FileManager.default.temporaryDirectory.path + "/abn-backend-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var settings = TrainingSettings(data: .digits, model: .mlp, output: folder)
    (settings.epochs, settings.batchSize) = (1, 256)
    var steps = 0
    let summary = try Trainer(
      settings, backend: backend, report: { _ in steps += 1 }, isInterrupted: { steps >= 2 }
    ).run()
    #expect(backend.wasUsed())
    #expect(summary.settings["threads"] == "\(backend.threads)")
    _ = try evaluateModel(in: folder, backend: backend)
    #expect(backend.wasUsed())
    let file = try ModelFile.read(folder: folder)
    let images = Tensor(zeros: [2, 1, 8, 8], dtype: .float32)
    let logits = try file.logits(of: images, folder: folder, backend: backend)
    #expect(backend.wasUsed())
    #expect(try file.logits(of: images, folder: folder) == logits)
    _ = try ModelFile(
      firstValuesOf: .mlp, options: ModelOptions(classes: 10), image: [1, 8, 8], seed: 1,
      backend: backend)
    #expect(backend.wasUsed())
  }

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
      .lenet, norm: .inplace, pass: .training, image: [1, 28, 28], batchSize: 2, steps: 1,
      measuresFloor: false, backend: backend
    ).timing
    #expect(backend.wasUsed())
    #expect(timing.threads == backend.threads)
  }
}
