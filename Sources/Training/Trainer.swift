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

/// Trains a network: the whole road from data to a saved model.
public final class Trainer {
  /// What a run computes.
  public private(set) var settings: TrainingSettings
  let backend: any Backend
  private let isInterrupted: () -> Bool
  private let report: (TrainingProgress) -> Void
  /// Are told how the run goes: logs, the progress line.
  package var observers: [any TrainingObserver] = []
  /// Is told what a user wants to know and is no error: that there was no checkpoint to go on from.
  package var note: (String) -> Void = { _ in }
  /// Whether the run's folder gets what a report shows beside the logs: `best.json`,
  /// `profile.json`.
  package var keepsReport = false
  /// Whether the run had ended before, so that `run` has changed nothing.
  package private(set) var hadEnded = false

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
    try settings.data.requireOutside(settings.output)
    let (dataset, task) = try prepared()
    let data = try data(of: dataset)
    let files = try RunFiles(folder: settings.output, existing: settings.existing)
    defer { files.release() }
    if let ended = try ended(files) { return ended }
    do {
      let model = ModelFile(
        parameters: [:], model: settings.model,
        options: settings.options(classes: dataset.classCount), image: dataset.imageShape,
        normalization: dataset.normalization, data: settings.data.absolute.description,
        dataset: dataset)
      return try train(task, data, model, files)
    } catch {
      files.discardUnlessSaved()
      throw error
    }
  }

  /// The data, and the task that they are for. Where the batch is what a budget allows, it is known
  /// from here on.
  func prepared() throws -> (Dataset, any TrainingTask) {
    var dataset = try settings.data.load(settings.dataOptions)
    for text in dataset.notes { note(text) }
    dataset = try scaled(dataset)
    let options = settings.options(classes: dataset.classCount)
    let task: any TrainingTask
    if dataset.pixelClasses != nil {
      dataset = try dataset.padded(for: settings.model.sizes)
      try settings.model.requireFits(dataset, options)
      task = SegmentationTask(
        settings.model, options: options, image: dataset.imageShape,
        objective: try objective(dataset))
    } else {
      try settings.model.requireFits(dataset, options)
      task = ClassificationTask(
        settings.model, options: options, image: dataset.imageShape,
        usesSoftLabels: settings.overfit == nil && settings.augmentation.hasSoftLabels)
    }
    if settings.fitsBatch {
      settings.batchSize = try batchSize(task, dataset)
      note("batch size \(settings.batchSize)")
    }
    guard let batches = settings.overfit else { return (dataset, task) }
    let few = dataset.train.selecting(
      Array(0..<min(dataset.train.count, batches * settings.batchSize)))
    return (try dataset.replacing(train: few, test: few), task)
  }

  /// What a segmentation minimizes.
  private func objective(_ dataset: Dataset) throws -> SegmentationObjective {
    SegmentationObjective(
      loss: settings.segmentationLoss,
      classWeights: try settings.classWeighting.weights(
        of: dataset.train, threads: settings.dataOptions.threads),
      usesAuxiliaryHead: settings.usesAuxiliaryHead)
  }

  /// - Parameter batchSize: nil: that of the settings.
  func data(of dataset: Dataset, batchSize: Int? = nil) throws -> TrainingData {
    let isWhole = settings.overfit == nil
    let batchSize = batchSize ?? settings.batchSize
    var options = BatchLoader.Options(
      batchSize: settings.dropsLast && isWhole
        ? batchSize : min(batchSize, dataset.train.count),
      seed: settings.seed, isShuffled: isWhole,
      lastBatch: settings.dropsLast && isWhole ? .dropped : .kept,
      augmentation: isWhole ? settings.augmentation : nil,
      prefetchCount: max(2, settings.workers))
    (options.workers, options.classCount) = (settings.workers, dataset.classCount)
    let loader = try BatchLoader(
      dataset.train, normalization: dataset.normalization, options: options)
    return TrainingData(
      loader: loader, test: dataset.test, normalization: dataset.normalization,
      classNames: dataset.classNames)
  }

  /// The summary of a run that is to be resumed and has ended; nil where there is something to do.
  private func ended(_ files: RunFiles) throws -> TrainingSummary? {
    guard settings.existing == .resumed else { return nil }
    guard let summary = try ownSummary(files), summary.hasEnded(settings) else { return nil }
    note("the run in \(quoted(files.folder)) has ended: nothing to do")
    hadEnded = true
    return summary
  }

  /// The summary in the folder, if it is of a run with these settings and data: one that is being
  /// overwritten leaves its own there until the new model is.
  private func ownSummary(_ files: RunFiles) throws -> TrainingSummary? {
    let path = files.folder + "/" + TrainingSummary.name
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let summary = try TrainingSummary.read(folder: files.folder)
    let isOwn =
      settings.difference(from: summary.settings) == nil
      && summary.settings["data"] == settings.data.absolute.description
    return isOwn ? summary : nil
  }

  /// The programs of a run of so many steps an epoch.
  ///
  /// - Parameter rates: the learning rate of each update.
  func programs(_ task: some TrainingTask, rates: Schedule) throws -> RunPrograms {
    var average: ExponentialAverage?
    let programs = try task.programs(seed: settings.seed) { loss in
      let trained =
        settings.freeze.isEmpty
        ? nil : try ProgramBuilder.current.freeze(settings.freeze, model: settings.model).trained
      if trained?.isEmpty == true {
        throw ABNError(
          .attribute, "--freeze", got: "patterns that name all parameters",
          wanted: "at least one parameter that is trained")
      }
      try settings.optimizerSettings.make(schedule: rates).minimize(
        loss, parameters: trained, microBatches: settings.accumulate)
      average = try settings.ema.map { try ExponentialAverage(decay: $0) }
    }
    return RunPrograms(
      all: programs,
      accumulating: settings.accumulate > 1 ? try programs.training.accumulatingGradients() : nil,
      average: average, rates: rates)
  }

  /// The whole run of a task.
  private func train(
    _ task: some TrainingTask, _ data: TrainingData, _ model: ModelFile, _ files: RunFiles
  ) throws -> TrainingSummary {
    let stepsPerEpoch = min(data.loader.batchesPerEpoch, settings.limitBatches ?? .max)
    let programs = try programs(task, rates: settings.rates(stepsPerEpoch: stepsPerEpoch))
    // Weights change between evaluations, and memory is what this is about. What fits is checked
    // below, with the batches that wait.
    let executor = Executor(backend: backend, keepsConstants: false, memoryLimit: .none)
    let memory = try plannedMemory(task, programs, data, executor)
    let meter = MemoryMeter(backend.memory)
    let baseBytes = meter.baseBytes
    let scope = Scope()
    let state = try begin(programs.all, executor, scope, files, data.identity)
    let loop = TrainingLoop(
      task, settings, programs, data: data, executor: executor, backend: backend,
      scope: scope, files: files, model: model, state: state, stepsPerEpoch: stepsPerEpoch)
    (loop.isInterrupted, loop.report) = (isInterrupted, report)
    (loop.keepsReport, loop.note) = (keepsReport, note)
    loop.observers = TrainingObservers(observers)
    do {
      loop.announce = { [backend] in
        try loop.observers.began(
          loop.runRecord(
            plannedPeakBytes: memory.peakBytes, resumedStep: state.stepsDone,
            threads: backend.threads))
      }
      let reason = try loop.run()
      noteBroken(data)
      let measured = { (baseBytes, meter.peakBytes) }
      let summary = try finish(loop, reason, memory, measured)
      try loop.observers.ended(loop.endRecord(reason, modelPath: summary.modelPath))
      if keepsReport { writeProfile(loop) }
      Interruption.finish()
      return summary
    } catch {
      try? loop.observers.ended(loop.endRecord(.failed, error: error))
      throw error
    }
  }

  /// Names the pictures that training has left out.
  private func noteBroken(_ data: TrainingData) {
    let split = data.loader.split
    let broken = split.broken
    guard !broken.isEmpty else { return }
    let unreadable = split.source.unreadable
    let learned = Set(
      split.labels.indices.filter { !unreadable.contains($0) }.map { split.labels[$0] })
    for (label, name) in data.classNames.enumerated() where !learned.contains(Int32(label)) {
      note("of the class \(quoted(name)) no picture can be read: the network has not learned it")
    }
    let some = broken.prefix(3).map(\.description).joined(separator: "; ")
    note(
      "left out \(broken.count) of \(data.trainCount) pictures to train on that cannot be read: "
        + some + (broken.count > 3 ? "; ..." : ""))
  }

  /// The last checkpoint, the evaluation of the weights, and the model.
  private func finish(
    _ loop: TrainingLoop<some TrainingTask>, _ reason: EndRecord.Reason, _ memory: TrainingMemory,
    _ measured: () -> (base: Int, peak: Int)
  ) throws -> TrainingSummary {
    guard loop.progress.stepsDone > 0 else {
      throw ABNError(
        .system, "training", got: "an interruption before the first step",
        wanted: "a step at least",
        fix: "Nothing was saved; \(quoted(settings.output)) is as it was.")
    }
    try loop.saveCheckpoint()
    let evaluation =
      loop.progress.evaluationIsCurrent
      ? loop.progress.evaluation
      : reason == .interrupted ? nil : try loop.lastEvaluation()
    return try loop.withSavedWeights {
      let parameters = TensorStream(loop.programs.training.parameters, in: loop.scope)
      var summary = summary(of: loop.progress, evaluation, reason)
      (summary.plannedPeakBytes, summary.plannedStepBytes) = (memory.peakBytes, memory.stepBytes)
      (summary.baseBytes, summary.measuredPeakBytes) = measured()
      summary.modelChecksum = try loop.model.checksum(of: parameters)
      try save(loop.model, parameters, summary, loop.files)
      return summary
    }
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
    files.noteSaved()
  }

  /// First values, or those of the checkpoint.
  private func begin(
    _ programs: ClassifierPrograms, _ executor: Executor, _ scope: Scope, _ files: RunFiles,
    _ identity: [String: String]
  ) throws -> TrainingState {
    try executor.run(programs.startup, scope: scope)
    guard settings.existing == .resumed else { return try firstState(programs, scope) }
    guard files.hasCheckpoint else {
      if let model = RunFiles.run(in: files.folder),
        try !files.hasSettings || ownSummary(files) != nil
      {
        throw ABNError(
          .file, "output \(quoted(files.folder))",
          got: "\(quoted(model)), and no checkpoint to go on from",
          wanted: "the folder of a run",
          fix: "Begin with its weights instead: --weights \(files.folder), with another --output.")
      }
      note("no checkpoint in \(quoted(files.folder)): training starts from the beginning")
      return try firstState(programs, scope)
    }
    let (checkpoint, tensors) = try RunFiles.reading(files.last, Checkpoint.read)
    try settings.requireSame(as: checkpoint, identity: identity, path: files.last)
    try Checkpoint.restore(tensors, of: programs.training, into: scope, path: files.last)
    return checkpoint.state
  }

  /// A run from its beginning, with weights of a file if there is one.
  func firstState(
    _ programs: ClassifierPrograms, _ scope: Scope
  ) throws -> TrainingState {
    if let path = settings.weights {
      var loading = WeightLoading(path)
      loading.allowsOtherActivation = settings.adapts
      let classes = programs.logits.shape[1]
      let report = try loading.load(
        into: scope, program: programs.training, model: settings.model,
        options: settings.options(classes: classes))
      note(report.table)
    }
    return TrainingState()
  }

  private func summary(
    of progress: TrainingProgress, _ evaluation: Evaluation?, _ reason: EndRecord.Reason
  ) -> TrainingSummary {
    var summary = TrainingSummary(
      accuracy: evaluation?.accuracy, loss: evaluation?.loss, seconds: progress.state.seconds,
      imagesPerSecond: progress.imagesPerSecond, plannedPeakBytes: 0, plannedStepBytes: 0,
      measuredPeakBytes: 0, baseBytes: 0, seed: settings.seed,
      interrupted: reason == .interrupted, epochsDone: progress.epochsDone,
      modelPath: settings.output + "/" + ModelFile.name, modelChecksum: nil,
      settings: settings.described(threads: backend.threads))
    summary.stopReason = reason.rawValue
    summary.metric = settings.data.hasMasks ? SegmentationMetrics.name : nil
    summary.times = progress.state.times
    summary.bestAccuracy = progress.state.best?.evaluation.accuracy
    summary.bestEpoch = progress.state.best.map { $0.epoch + 1 }
    return summary
  }
}

extension TrainingSummary {
  /// Whether a run that is asked for with these settings is done.
  fileprivate func hasEnded(_ settings: TrainingSettings) -> Bool {
    if interrupted { return false }
    switch stopReason.flatMap(EndRecord.Reason.init) {
    case .timeBudget:
      return settings.timeBudget.map { $0 <= seconds } ?? false
    case .earlyStopped:
      guard let patience = settings.patience, let bestEpoch else { return false }
      return epochsDone - bestEpoch >= patience
    default: return epochsDone >= settings.epochs
    }
  }
}
