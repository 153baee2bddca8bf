import ABNData
import ABNFormats
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
  /// Is told what a user wants to know and is no error: that there was no checkpoint to go on from.
  package var note: (String) -> Void = { _ in }

  /// A trainer that tells `report` how it goes after every step, and asks `isInterrupted` before
  /// every step whether to stop.
  ///
  /// - Parameter backend: runs the steps.
  public init(
    _ settings: TrainingSettings, backend: any Backend,
    report: @escaping (TrainingProgress) -> Void = { _ in },
    isInterrupted: @escaping () -> Bool = { Interruption.isRequested }
  ) {
    self.settings = settings
    self.backend = backend
    self.isInterrupted = isInterrupted
    self.report = report
  }

  /// Trains, evaluates, saves `model.safetensors` and `summary.json`, both at once; checkpoints
  /// meanwhile (see `RunFiles`).
  ///
  /// The same settings and number of threads give the same weights, bit by bit, also where the run
  /// was killed and resumed, from whichever checkpoint. Stops early, and saves, when
  /// `Interruption.isRequested`; before the first step that is an error, and files stay as they
  /// are. A resumed run that had ended already gives its summary and changes nothing.
  ///
  /// - Throws: `ABNError` for settings, data, an output folder or a checkpoint that cannot be used,
  ///   before the first step; `ABNError(.data)` with the layer's name where the loss or a gradient
  ///   is no longer finite, and then the last good checkpoint stays; `ABNError(.system)` for an
  ///   interruption before the first step.
  public func run() throws -> TrainingSummary {
    try settings.validate()
    let dataset = try settings.data.load()
    let options = settings.options(classes: dataset.classCount)
    try settings.model.requireClassifies(dataset, options)
    let loader = try BatchLoader(
      dataset.train, normalization: dataset.normalization,
      options: .init(
        batchSize: settings.batchSize, seed: settings.seed,
        augmentation: settings.augmentation))
    let files = try RunFiles(folder: settings.output, existing: settings.existing)
    defer { files.release() }
    if let ended = try ended(files) { return ended }
    do {
      let data = TrainingData(
        loader: loader, test: dataset.test, normalization: dataset.normalization)
      let model = ModelFile(
        parameters: [:], model: settings.model, options: options, image: dataset.imageShape,
        normalization: dataset.normalization, data: settings.data.absolute.description,
        dataset: dataset)
      let task = ClassificationTask(
        settings.model, options: options, image: dataset.imageShape)
      return try train(task, data, model, files)
    } catch {
      files.discardUnlessSaved()
      throw error
    }
  }

  /// The summary of a run that is to be resumed and has ended; nil where there is something to do.
  private func ended(_ files: RunFiles) throws -> TrainingSummary? {
    guard settings.existing == .resumed else { return nil }
    let path = files.folder + "/" + TrainingSummary.name
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let summary = try TrainingSummary.read(folder: files.folder)
    return summary.interrupted || summary.epochsDone < settings.epochs && summary.isOpenEnded
      ? nil : summary
  }

  /// The whole run of a task.
  private func train(
    _ task: some TrainingTask, _ data: TrainingData, _ model: ModelFile, _ files: RunFiles
  ) throws -> TrainingSummary {
    let stepsPerEpoch = min(data.loader.batchesPerEpoch, settings.limitBatches ?? .max)
    let programs = try task.programs(seed: settings.seed) { loss in
      try settings.minimize(loss, steps: settings.epochs * stepsPerEpoch)
    }
    // Weights change between evaluations, and memory is what this is about. What fits is checked
    // below, with the batches that wait.
    let executor = Executor(backend: backend, keepsConstants: false, memoryLimit: .none)
    let memory = try plannedMemory(task, programs, data, executor)
    let meter = MemoryMeter(backend.memory)
    let baseBytes = meter.baseBytes
    let scope = Scope()
    let state = try begin(programs, executor, scope, files)
    let loop = TrainingLoop(
      task, settings, programs, data: data, executor: executor, backend: backend,
      scope: scope, files: files, model: model, state: state, stepsPerEpoch: stepsPerEpoch)
    (loop.isInterrupted, loop.report) = (isInterrupted, report)
    let reason = try loop.run()
    guard loop.progress.stepsDone > 0 else {
      throw ABNError(
        .system, "training", got: "an interruption before the first step",
        wanted: "a step at least",
        fix: "Nothing was saved; \(quoted(settings.output)) is as it was.")
    }
    try loop.saveCheckpoint()
    let evaluation =
      loop.progress.evaluationIsCurrent
      ? loop.progress.evaluation : reason == .interrupted ? nil : try loop.evaluate()
    let parameters = TensorStream(programs.training.parameters, in: scope)
    var summary = summary(of: loop.progress, evaluation, reason)
    (summary.plannedPeakBytes, summary.plannedStepBytes) = (memory.peakBytes, memory.stepBytes)
    (summary.baseBytes, summary.measuredPeakBytes) = (baseBytes, meter.peakBytes)
    summary.modelChecksum = try model.checksum(of: parameters)
    try save(model, parameters, summary, files)
    Interruption.finish()
    return summary
  }

  private func save(
    _ model: ModelFile, _ parameters: TensorStream, _ summary: TrainingSummary, _ files: RunFiles
  ) throws {
    guard
      try model.write(
        parameters, toFolder: settings.output, summary: summary,
        replacing: settings.existing != .refused)
    else {
      throw ABNError(
        .file, "output \(quoted(settings.output))",
        got: "a model that another command has saved there since",
        wanted: "a folder without a model",
        fix: "This run is in \(quoted(files.last)): move that model away, and --resume.")
    }
    files.noteSaved(overwriting: settings.existing == .overwritten)
  }

  /// What a step, an evaluation and the batches that wait need.
  ///
  /// - Throws: `ABNError(.system)` where that is more than there is.
  private func plannedMemory(
    _ task: some TrainingTask, _ programs: ClassifierPrograms, _ data: TrainingData,
    _ executor: Executor
  ) throws -> TrainingMemory {
    func memory(_ executor: Executor, _ batchSize: Int) throws -> TrainingMemory {
      try TrainingMemory(
        programs, executor, loader: data.loader, batchSize: batchSize, testCount: data.test.count,
        evaluationFetches: task.evaluationFetches(programs))
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
    return planned
  }

  /// First values, or those of the checkpoint.
  private func begin(
    _ programs: ClassifierPrograms, _ executor: Executor, _ scope: Scope, _ files: RunFiles
  ) throws -> TrainingState {
    try executor.run(programs.startup, scope: scope)
    guard settings.existing == .resumed else { return TrainingState() }
    guard FileManager.default.fileExists(atPath: files.last) else {
      note("no checkpoint in \(quoted(files.folder)): training starts from the beginning")
      return TrainingState()
    }
    let (checkpoint, tensors) = try Checkpoint.read(files.last)
    try settings.requireSame(as: checkpoint, path: files.last)
    try Checkpoint.restore(tensors, of: programs.training, into: scope, path: files.last)
    return checkpoint.state
  }

  private func summary(
    of progress: TrainingProgress, _ evaluation: Evaluation?, _ reason: StopReason
  ) -> TrainingSummary {
    var summary = TrainingSummary(
      accuracy: evaluation?.accuracy, loss: evaluation?.loss, seconds: progress.state.seconds,
      imagesPerSecond: progress.imagesPerSecond, plannedPeakBytes: 0, plannedStepBytes: 0,
      measuredPeakBytes: 0, baseBytes: 0, seed: settings.seed,
      interrupted: reason == .interrupted, epochsDone: progress.epochsDone,
      modelPath: settings.output + "/" + ModelFile.name, modelChecksum: nil,
      settings: settings.described(threads: backend.threads))
    summary.stopReason = reason.rawValue
    summary.bestAccuracy = progress.state.best?.evaluation.accuracy
    summary.bestEpoch = progress.state.best.map { $0.epoch + 1 }
    return summary
  }
}

extension TrainingSummary {
  /// Whether more epochs than it was given would go on with it.
  fileprivate var isOpenEnded: Bool { stopReason == StopReason.done.rawValue }
}

extension TrainingSettings {
  /// Photographs are shifted and mirrored; digits are only shifted, a mirrored digit being another
  /// one. The few of 8 x 8 pixels are distorted too, as other hands would write them: without that,
  /// up to eleven of the 360 held-out ones are missed, with it eight (seeds 0 to 39).
  var augmentation: Augmentation {
    switch data {
    case .digits: Augmentation(cropPadding: 1, flipsHorizontally: false, distortion: 0.15)
    case .mnist: Augmentation(cropPadding: 2, flipsHorizontally: false)
    default: data.usualAugmentation
    }
  }

  /// Appends the updates.
  ///
  /// - Parameter steps: all steps of the run, for the schedule.
  func minimize(_ loss: Variable, steps: Int) throws {
    _ = try Momentum(
      learningRate: Schedule.oneCycle(peak: learningRate, steps: steps),
      momentum: momentum, useNesterov: true, regularization: .l2(weightDecay)
    ).minimize(loss)
  }

  /// Settings that do not decide what the steps of a run compute, and may be others when it goes on.
  private static let freeNames: Set<String> = ["output", "threads", "epochs"]

  /// - Throws: `ABNError(.file)` with the first setting that a checkpoint's run had otherwise.
  func requireSame(as checkpoint: Checkpoint, path: String) throws {
    let own = described(threads: 0)
    let names = Set(own.keys).union(checkpoint.settings.keys).subtracting(Self.freeNames)
    for name in names.sorted() where own[name] != checkpoint.settings[name] {
      throw ABNError(
        .file, "checkpoint \(quoted(path)): \(name)",
        got: checkpoint.settings[name] ?? "no such setting",
        wanted: own[name] ?? "no such setting",
        fix: "Resume with the settings that the run was begun with.")
    }
  }

  /// What they say about the model.
  func options(classes: Int) -> ModelOptions {
    ModelOptions(classes: classes, norm: norm, activation: activation)
  }

  /// The settings by their names on the command line.
  func described(threads: Int) -> [String: String] {
    [
      "data": data.absolute.description, "model": model.name, "norm": norm.rawValue,
      "activation": activation.name, "alpha": "\(activation.alpha ?? 1)", "epochs": "\(epochs)",
      "batch-size": "\(batchSize)", "lr": "\(learningRate)", "momentum": "\(momentum)",
      "weight-decay": "\(weightDecay)", "seed": "\(seed)", "output": output,
      "threads": "\(threads)",
    ]
  }
}
