import ABNData
import ABNFormats
import ABNGraph
import ABNInspection
import ABNModelFiles
import ABNRuntime
import ABNTensors

/// Why a run has ended.
package enum StopReason: String, Sendable, Codable {
  /// All epochs are done.
  case done
  /// No better evaluation for as many epochs as the settings allow.
  case patience
  /// The time is up.
  case timeBudget
  /// A signal, or what the caller gave as `isInterrupted`.
  case interrupted
}

/// The data of a run.
struct TrainingData {
  let loader: BatchLoader
  let test: DataSplit
  let normalization: ChannelNormalization
}

/// The loop of a run: steps, an evaluation after each epoch, checkpoints.
final class TrainingLoop<Task: TrainingTask> {
  let task: Task
  let settings: TrainingSettings
  let programs: ClassifierPrograms
  let data: TrainingData
  let executor: Executor
  let scope: Scope
  let files: RunFiles
  /// What the model file says beside the parameters.
  let model: ModelFile
  var progress: TrainingProgress
  var isInterrupted: () -> Bool = { false }
  var report: (TrainingProgress) -> Void = { _ in }
  private let nonFinite: NonFinite
  private let looksAhead: Bool
  private let threads: Int
  private let start = ContinuousClock.now
  private var lastCheckpoint = ContinuousClock.now
  private let secondsBefore: Double
  private let overwriting: Bool

  init(
    _ task: Task, _ settings: TrainingSettings, _ programs: ClassifierPrograms,
    data: TrainingData, executor: Executor, backend: any Backend, scope: Scope, files: RunFiles,
    model: ModelFile, state: TrainingState, stepsPerEpoch: Int
  ) {
    self.task = task
    self.settings = settings
    self.programs = programs
    self.data = data
    self.executor = executor
    looksAhead = backend.memory.stages
    threads = backend.threads
    self.scope = scope
    self.files = files
    self.model = model
    nonFinite = NonFinite(programs)
    secondsBefore = state.seconds
    overwriting = settings.existing == .overwritten
    progress = TrainingProgress(
      epochs: settings.epochs, stepsPerEpoch: stepsPerEpoch, batchSize: settings.batchSize,
      state: state)
  }

  /// Trains until there is a reason to stop. The state is that of the scope's values then.
  func run() throws -> StopReason {
    try sanityCheck()
    while progress.epoch < settings.epochs {
      if let reason = reasonToStop { return reason }
      if let reason = try trainEpoch() { return reason }
      try endEpoch()
      if hasLostPatience { return .patience }
    }
    return .done
  }

  /// A pass over the data, or what is left of it; nil: all steps are done.
  private func trainEpoch() throws -> StopReason? {
    let first = progress.step
    guard first < progress.stepsPerEpoch else { return nil }
    var batches = UpcomingBatches(
      data.loader.epoch(progress.epoch, startingAt: first), looksAhead: looksAhead, task: task)
    progress.resumeClock()
    while progress.step < progress.stepsPerEpoch {
      if let reason = reasonToStop { return reason }
      guard let feed = batches.next() else { break }
      let results = try executor.run(
        programs.training, feed: feed, next: batches.upcoming,
        fetch: [programs.loss, programs.accuracy], scope: scope)
      progress.add(loss: results[0].doubles[0], accuracy: results[1].doubles[0])
      try requireFinite(results[0].doubles[0])
      Interruption.noteStep()
      report(progress)
      // The end of an epoch decides for itself, after its evaluation.
      if progress.step < progress.stepsPerEpoch, checkpointIsDue {
        try saveCheckpoint()
        progress.resumeClock()
      }
    }
    // Whoever has asked to stop does not wait for an evaluation.
    return isInterrupted() ? .interrupted : nil
  }

  private func endEpoch() throws {
    let evaluation = try evaluate()
    try requireFinite(evaluation.loss, "held-out loss")
    let isBest = progress.endEpoch(evaluation)
    report(progress)
    if isBest, settings.checkpoints.keepsBest { try saveBest() }
    progress.openNextEpoch()
    let isKept = settings.checkpoints.everyEpochs.map { progress.epochsDone % $0 == 0 } ?? false
    if isKept || checkpointIsDue || progress.epoch == settings.epochs { try saveCheckpoint() }
    if isKept {
      try files.keepLast(asEpoch: progress.epochsDone, limit: settings.checkpoints.limit)
    }
  }

  private var seconds: Double {
    secondsBefore + start.duration(to: .now) / .seconds(1)
  }

  private var reasonToStop: StopReason? {
    if isInterrupted() { return .interrupted }
    if let budget = settings.timeBudget, seconds >= budget { return .timeBudget }
    return nil
  }

  private var hasLostPatience: Bool {
    guard let patience = settings.patience, let best = progress.state.best else { return false }
    return progress.epochsDone - 1 - best.epoch >= patience
  }

  private var checkpointIsDue: Bool {
    lastCheckpoint.duration(to: .now) >= .seconds(60 * settings.checkpoints.everyMinutes)
  }

  /// The evaluation of the weights as they are.
  func evaluate() throws -> Evaluation {
    try evaluate(
      data.test, normalization: data.normalization, batchSize: settings.batchSize, limit: nil)
  }

  /// Some batches of an evaluation before the first epoch: what ends it ends it now.
  private func sanityCheck() throws {
    guard progress.stepsDone == 0, settings.sanityBatches > 0, !isInterrupted() else { return }
    _ = try evaluate(
      data.test, normalization: data.normalization, batchSize: settings.batchSize,
      limit: settings.sanityBatches)
  }

  private func evaluate(
    _ split: DataSplit, normalization: ChannelNormalization, batchSize: Int, limit: Int?
  ) throws -> Evaluation {
    try task.evaluate(
      programs, split, normalization: normalization, batchSize: batchSize, limit: limit,
      executor: executor, scope: scope)
  }

  /// Writes the last checkpoint.
  func saveCheckpoint() throws {
    progress.state.seconds = seconds
    try files.prepareCheckpoints()
    try Checkpoint(
      state: progress.state, settings: settings.described(threads: threads)
    ).write(programs.training, scope, to: files.last)
    files.noteSaved(overwriting: overwriting)
    lastCheckpoint = .now
  }

  private func saveBest() throws {
    try model.write(
      TensorStream(programs.training.parameters, in: scope), toFolder: files.best)
  }

  private func requireFinite(_ loss: Double, _ what: String = "loss") throws {
    let isFinite = loss.isFinite
    if isFinite && nonFinite.isFinite(scope) { return }
    let got =
      isFinite ? "a gradient that is not finite" : "\(what) \(loss.isNaN ? "nan" : "\(loss)")"
    let kept =
      files.hasSaved || settings.existing == .resumed
      ? "The last good checkpoint is \(quoted(files.last))." : "Nothing was saved."
    throw ABNError(
      .data, "training", at: "epoch \(progress.epoch + 1), step \(progress.step)",
      got: "\(got), first in \(nonFinite.place(scope, lossIsFinite: isFinite))",
      wanted: "finite numbers", fix: "\(kept) Choose a lower learning rate (--lr).")
  }
}
