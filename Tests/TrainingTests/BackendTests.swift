import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Whatever runs a program does so on the backend that it was given.
@Suite struct BackendTests {
  private let backend = CountingBackend()

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
}
