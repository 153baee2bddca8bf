import ABNData
import ABNGraph
import ABNInspection
import ABNModelFiles
import ABNModels
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import Foundation

/// Trains a classifier: the whole road from data to a saved model.
public final class Trainer {
  /// What a run computes.
  public let settings: TrainingSettings
  private let backend: any Backend
  private let isInterrupted: () -> Bool
  private let report: (TrainingProgress) -> Void
  private let otherFolder: (() throws -> String)?

  /// A trainer that tells `report` how it goes after every step, and asks `isInterrupted` before
  /// every step whether to stop.
  ///
  /// - Parameters:
  ///   - backend: runs the steps.
  ///   - otherFolder: gives the folder to save in where the settings' one has got a model since, by
  ///     another run; nil: that model is replaced.
  public init(
    _ settings: TrainingSettings, backend: any Backend,
    report: @escaping (TrainingProgress) -> Void = { _ in },
    isInterrupted: @escaping () -> Bool = { Interruption.isRequested },
    otherFolder: (() throws -> String)? = nil
  ) {
    self.settings = settings
    self.backend = backend
    self.otherFolder = otherFolder
    self.isInterrupted = isInterrupted
    self.report = report
  }

  /// Trains, evaluates, saves `model.safetensors` and `summary.json`, both at once.
  ///
  /// The same settings and number of threads give the same weights, bit by bit. Stops early, and
  /// saves, when `Interruption.isRequested`; before the first step that is an error, and files stay
  /// as they are.
  ///
  /// - Throws: `ABNError` for settings, data or an output folder that cannot be used, before the
  ///   first step; `ABNError(.data)` where the loss is no longer finite, `ABNError(.system)` for an
  ///   interruption before the first step, and then nothing is saved.
  public func run() throws -> TrainingSummary {
    try settings.validate()
    let dataset = try settings.data.load()
    try settings.model.requireClassifies(
      dataset, ModelOptions(classes: dataset.classCount, norm: settings.norm))
    let loader = try BatchLoader(
      dataset.train, normalization: dataset.normalization,
      options: .init(
        batchSize: settings.batchSize, seed: settings.seed,
        augmentation: settings.augmentation))
    try ModelFile.prepare(folder: settings.output)
    let steps = settings.epochs * loader.batchesPerEpoch
    let options = settings.options(classes: dataset.classCount)
    let programs = try ClassifierPrograms(
      settings.model, options: options, image: dataset.imageShape, seed: settings.seed
    ) { loss in
      _ = try MomentumOptimizer(
        learningRate: Schedule.oneCycle(peak: settings.learningRate, steps: steps),
        momentum: settings.momentum, useNesterov: true,
        regularization: .l2(settings.weightDecay)
      ).minimize(loss)
    }
    let scope = Scope()
    let trained = try train(programs, dataset, loader, scope)
    let (final, progress) = (trained.evaluation, trained.progress)
    try requireFinite(final.loss, "held-out loss", progress)
    let parameters = programs.training.parameters.reduce(into: [String: Tensor]()) {
      $0[$1.name] = scope[$1.name]
    }
    let file = ModelFile(
      parameters: parameters, model: settings.model, options: options,
      image: dataset.imageShape, normalization: dataset.normalization,
      data: settings.data.absolute.description)
    var summary = TrainingSummary(
      accuracy: final.accuracy, loss: final.loss, seconds: progress.seconds,
      imagesPerSecond: progress.imagesPerSecond,
      plannedPeakBytes: trained.memory.peakBytes, plannedStepBytes: trained.memory.stepBytes,
      measuredPeakBytes: trained.measuredPeakBytes, baseBytes: trained.baseBytes,
      seed: settings.seed, interrupted: progress.epochsDone < settings.epochs,
      epochsDone: progress.epochsDone, modelPath: settings.output + "/" + ModelFile.name,
      modelChecksum: file.checksum, settings: settings.described(threads: backend.threads))
    if try !file.write(
      toFolder: settings.output, summary: summary, replacing: otherFolder == nil),
      let folder = try otherFolder?()
    {
      summary.modelPath = folder + "/" + ModelFile.name
      try file.write(toFolder: folder, summary: summary)
    }
    Interruption.finish()
    return summary
  }

  /// What the loop leaves behind; its arena and its batches are gone.
  private struct Trained {
    let evaluation: Evaluation
    let progress: TrainingProgress
    let memory: TrainingMemory
    let baseBytes, measuredPeakBytes: Int
  }

  /// The loop: epochs of steps, an evaluation after each.
  private func train(
    _ programs: ClassifierPrograms, _ dataset: Dataset, _ loader: BatchLoader, _ scope: Scope
  ) throws -> Trained {
    // Weights change between evaluations, and memory is what this is about. What fits is checked
    // below, with the batches that wait.
    let executor = Executor(backend: backend, keepsConstants: false, memoryLimit: .none)
    func memory(_ executor: Executor, _ batchSize: Int) throws -> TrainingMemory {
      try TrainingMemory(
        programs, executor, loader: loader, batchSize: batchSize, testCount: dataset.test.count)
    }
    let planned = try memory(executor, settings.batchSize)
    try ProcessMemory.require(plannedPeakBytes: planned.peakBytes, in: backend.memory) {
      try programs.largestBatchSize(fitting: $0, below: settings.batchSize) {
        try memory(
          Executor(
            backend: backend, mode: .compact, keepsConstants: false, memoryLimit: .none), $0
        ).peakBytes
      }
    }
    let meter = MemoryMeter(backend.memory)
    let baseBytes = meter.baseBytes
    try executor.run(programs.startup, scope: scope)

    var progress = TrainingProgress(
      epochs: settings.epochs, stepsPerEpoch: loader.batchesPerEpoch,
      batchSize: settings.batchSize)
    // Of the weights as they are; nil while they have changed since.
    var evaluation: Evaluation?
    for epoch in 0..<settings.epochs where !isInterrupted() {
      progress.beginEpoch(epoch)
      var batches = UpcomingBatches(loader.epoch(epoch), looksAhead: backend.memory.stages)
      while let feed = batches.next(), !isInterrupted() {
        let results = try executor.run(
          programs.training, feed: feed, next: batches.upcoming,
          fetch: [programs.loss, programs.accuracy], scope: scope)
        evaluation = nil
        progress.add(loss: results[0].doubles[0], accuracy: results[1].doubles[0])
        try requireFinite(results[0].doubles[0], "loss", progress)
        Interruption.noteStep()
        report(progress)
      }
      // After the last step of a pass it is a whole one.
      if progress.step < loader.batchesPerEpoch { break }
      evaluation = try programs.evaluate(
        dataset.test, normalization: dataset.normalization, batchSize: settings.batchSize,
        executor: executor, scope: scope)
      progress.endEpoch(evaluation!)
      report(progress)
    }
    guard progress.stepsDone > 0 else {
      throw ABNError(
        .system, "training", got: "an interruption before the first step",
        wanted: "a step at least",
        fix: "Nothing was saved; \(quoted(settings.output)) is as it was.")
    }
    let final =
      try evaluation
      ?? programs.evaluate(
        dataset.test, normalization: dataset.normalization, batchSize: settings.batchSize,
        executor: executor, scope: scope)
    return Trained(
      evaluation: final, progress: progress, memory: planned, baseBytes: baseBytes,
      measuredPeakBytes: withExtendedLifetime((executor, scope)) { meter.peakBytes })
  }

  private func requireFinite(_ loss: Double, _ what: String, _ progress: TrainingProgress) throws {
    if loss.isFinite { return }
    throw ABNError(
      .data, "training", at: "epoch \(progress.epoch + 1), step \(progress.step)",
      got: "\(what) \(loss.isNaN ? "nan" : "\(loss)")", wanted: "a finite number",
      fix: "Nothing was saved. Choose a lower learning rate (--lr).")
  }
}

extension TrainingSettings {
  /// Photographs are shifted and mirrored; digits are only shifted, a mirrored digit being another
  /// one. The few of 8 x 8 pixels are distorted too, as other hands would write them: without that,
  /// up to eleven of the 360 held-out ones are missed, with it eight (seeds 0 to 39).
  var augmentation: Augmentation {
    switch data {
    case .digits: Augmentation(cropPadding: 1, flipsHorizontally: false, distortion: 0.15)
    case .mnist: Augmentation(cropPadding: 2, flipsHorizontally: false)
    case .cifar10: .cifar
    }
  }

  /// What they say about the model.
  func options(classes: Int) -> ModelOptions {
    ModelOptions(classes: classes, norm: norm, activation: activation)
  }

  /// The settings by their names on the command line.
  func described(threads: Int) -> [String: String] {
    [
      "data": data.description, "model": model.name, "norm": norm.rawValue,
      "activation": activation.name, "alpha": "\(activation.alpha ?? 1)", "epochs": "\(epochs)",
      "batch-size": "\(batchSize)", "lr": "\(learningRate)", "momentum": "\(momentum)",
      "weight-decay": "\(weightDecay)", "seed": "\(seed)", "output": output,
      "threads": "\(threads)",
    ]
  }
}
