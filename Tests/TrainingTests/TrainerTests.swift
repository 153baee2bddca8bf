import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

/// The road from data to a saved model, inside of the process.
@Suite(.serialized) struct TrainerTests {
  private func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.path + "/abn-trainer-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
  }

  private func settings(_ output: String) -> TrainingSettings {
    var settings = TrainingSettings(data: .digits, model: .mlp, output: output)
    (settings.epochs, settings.batchSize) = (1, 64)
    return settings
  }

  @Test func reportsEveryStepAndTheEndOfTheEpoch() throws {
    try withFolder { folder in
      var steps: [Int] = []
      var ends: [TrainingProgress] = []
      let summary = try Trainer(settings(folder)) { progress in
        if progress.isEndOfEpoch { ends.append(progress) } else { steps.append(progress.step) }
      }.run()
      // 1,437 pictures in batches of 64; the last 29 are left out.
      #expect(steps == Array(1...22))
      #expect(ends.count == 1 && ends[0].evaluation?.count == 360)
      #expect(ends[0].evaluation?.accuracy == summary.accuracy)
      #expect(ends[0].secondsLeft == 0)
      #expect(ends[0].line.contains("held out"))
      #expect(summary.epochsDone == 1 && !summary.interrupted)
    }
  }

  /// Stopped before the first step: an error, and what the folder held is still there.
  @Test func anInterruptionBeforeTheFirstStepSavesNothing() throws {
    try withFolder { folder in
      let before = try Trainer(settings(folder)).run()
      let model = try Data(contentsOf: URL(filePath: before.modelPath))
      var other = settings(folder)
      (other.seed, other.existing) = (5, .overwritten)
      let error = #expect(throws: ABNError.self) {
        try Trainer(other, isInterrupted: { true }).run()
      }
      #expect(error?.description.contains("before the first step") == true)
      #expect(try Data(contentsOf: URL(filePath: before.modelPath)) == model)
    }
  }

  /// A wish to stop waits for a step as long as the documents say.
  @Test func aWishWaitsAMinute() async {
    await #expect(processExitsWith: .success) {
      Interruption.install()
      guard Interruption.timerSeconds == 0 else { exit(1) }
      raise(SIGINT)
      // The timer runs, and was set to a minute.
      let isRunning = alarm(0) > 0
      exit(Interruption.isRequested && isRunning && Interruption.timerSeconds == 60 ? 0 : 2)
    }
  }

  /// Stopped after the last step of a pass: without its evaluation, which comes first when the run
  /// goes on.
  @Test func anInterruptionAtTheEndOfAPass() throws {
    try withFolder { folder in
      var steps = 0
      var two = settings(folder)
      two.epochs = 2
      let summary = try Trainer(
        two, report: { if !$0.isEndOfEpoch { steps += 1 } }, isInterrupted: { steps >= 22 }
      ).run()
      #expect(steps == 22 && summary.epochsDone == 0 && summary.interrupted)
      #expect(summary.accuracy == nil)
      two.existing = .resumed
      var ends: [TrainingProgress] = []
      let whole = try Trainer(two, report: { if $0.isEndOfEpoch { ends.append($0) } }).run()
      #expect(ends.map(\.epochsDone) == [1, 2] && ends[0].evaluation?.count == 360)
      #expect(whole.epochsDone == 2 && !whole.interrupted)
      #expect(try evaluateModel(in: folder).accuracy == whole.accuracy)
    }
  }

  /// Whoever asks to stop during an evaluation does not wait for its end.
  @Test func anInterruptionDuringAnEvaluation() throws {
    final class Watcher: TrainingObserver {
      var calls = 0
      func validating(done: Int, count: Int) { calls += 1 }
    }
    try withFolder { folder in
      var one = settings(folder)
      one.sanityBatches = 0
      let watcher = Watcher()
      let trainer = Trainer(one, isInterrupted: { watcher.calls > 0 })
      trainer.observers = [watcher]
      let summary = try trainer.run()
      #expect(watcher.calls == 1 && summary.interrupted && summary.epochsDone == 0)
      one.existing = .resumed
      let rest = try Trainer(one).run()
      #expect(rest.epochsDone == 1 && !rest.interrupted && rest.accuracy != nil)
    }
  }

  @Test func theFileHoldsEveryParameterAndTheStatistics() throws {
    try withFolder { folder in
      let summary = try Trainer(settings(folder)).run()
      let (tensors, metadata) = try Safetensors.read(path: summary.modelPath)
      // Three matrices and one bias, and for two norms scale, shift, mean and variance.
      #expect(tensors.count == 12)
      #expect(tensors.values.allSatisfy { $0.doubles.allSatisfy(\.isFinite) })
      #expect(metadata["model"] == "mlp" && metadata["image"] == "1x8x8")
      #expect(metadata["classes"] == "10" && metadata["norm"] == "inplace")
      let evaluation = try evaluateModel(in: folder)
      #expect(evaluation.accuracy == summary.accuracy)
      #expect(try evaluateModel(in: folder, batchSize: 45).accuracy == summary.accuracy)

      // A model that lacks a parameter is not evaluated with whatever happens to be there.
      var fewer = tensors
      let lost = try #require(tensors.keys.sorted().first)
      fewer[lost] = nil
      try Safetensors.write(fewer, metadata: metadata, to: summary.modelPath)
      let error = #expect(throws: ABNError.self) { try evaluateModel(in: folder) }
      #expect(error?.description.contains(lost) == true)
    }
  }

  @Test func settingsOutOfRangeAreRefused() {
    let changes: [(inout TrainingSettings) -> Void] = [
      { $0.epochs = 0 }, { $0.batchSize = 1 }, { $0.learningRate = .nan },
      { $0.learningRate = 0 }, { $0.momentum = 1 }, { $0.momentum = .nan },
      { $0.weightDecay = -1 }, { $0.weightDecay = .infinity }, { $0.output = "" },
      { $0.activation = .elu(alpha: .nan) },
    ]
    for (index, change) in changes.enumerated() {
      var settings = settings("unused")
      change(&settings)
      let error = #expect(throws: ABNError.self, "change \(index)") { try settings.validate() }
      #expect(error?.category == .attribute)
    }
    #expect(throws: Never.self) { try settings("unused").validate() }
  }

  @Test func memoryOfTheProcessGrowsWithWhatItTouches() throws {
    let before = try #require(ProcessMemory.residentBytes)
    let count = 64 << 20
    let block = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 4096)
    defer { block.deallocate() }
    memset(block, 1, count)
    let after = try #require(ProcessMemory.residentBytes)
    // Other tests run in the same process and free what they held.
    #expect(after - before > count / 2)
    #expect(try #require(ProcessMemory.peakBytes) >= after)
    #expect(try #require(ProcessMemory.machineBytes) > after)
  }

  @Test func bytesForPeople() {
    #expect(describeBytes(0) == "0 B")
    #expect(describeBytes(1023) == "1023 B")
    #expect(describeBytes(1536) == "1.5 KiB")
    #expect(describeBytes(-1536) == "-1.5 KiB")
    #expect(describeBytes(3 << 30) == "3.0 GiB")
  }

  @Test func measuredMemoryIsRefusedForSizesBeyondReason() {
    for (side, batch) in [(0, 1), (8, 0), (1 << 40, 2)] {
      #expect(throws: ABNError.self) {
        try measureMemory(
          of: .mlp, norm: .inplace, image: Shape([1, side, side]), batchSize: batch, steps: 1,
          backend: CPUBackend())
      }
    }
  }
}
