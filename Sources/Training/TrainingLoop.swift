import ABNData
import ABNFormats
import ABNGraph
import ABNInspection
import ABNModelFiles
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// The data of a run.
struct TrainingData {
  let loader: BatchLoader
  let test: DataSplit
  let normalization: ChannelNormalization
  /// What the classes are called.
  let classNames: [String]
  /// The pictures that the batches are made of.
  var trainCount: Int { loader.split.count }

  /// By what a run that goes on knows its data again, wherever they are now.
  var identity: [String: String] {
    var identity = [
      "classes": classNames.joined(separator: ", "), "pictures": "\(trainCount) + \(test.count)",
    ]
    // What the numbers in masks stand for, in the order of the numbers.
    identity["masks"] = test.masks.map {
      $0.classes.classes.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        .joined(separator: ", ")
    }
    return identity
  }
}

/// The programs of a run.
struct RunPrograms {
  let all: ClassifierPrograms
  /// For all but the last of the batches that make an update; nil where each makes one.
  let accumulating: Program?
  /// Of the weights, to evaluate and save in their place; nil for none.
  let average: ExponentialAverage?
  /// The learning rate of each update.
  let rates: Schedule
}

/// A request to stop came during an evaluation.
private struct EvaluationStopped: Error {}

/// The loop of a run: steps, an evaluation after each epoch, checkpoints.
final class TrainingLoop<Task: TrainingTask> {
  let task: Task
  let settings: TrainingSettings
  let programs: ClassifierPrograms
  let runPrograms: RunPrograms
  let data: TrainingData
  let executor: Executor
  let scope: Scope
  let files: RunFiles
  /// What the model file says beside the parameters.
  let model: ModelFile
  var progress: TrainingProgress
  var isInterrupted: () -> Bool = { false }
  var report: (TrainingProgress) -> Void = { _ in }
  var observers = TrainingObservers([])
  /// Tells the observers that the run begins; nil once they know.
  var announce: (() throws -> Void)?
  private let nonFinite: NonFinite
  var epochClock = EpochClock()
  /// Of the last evaluation, until they are written beside a checkpoint.
  private var unsavedMetrics: Task.Metrics?
  /// Of the best one, with its epoch from 1, until its pictures are.
  private var unsavedBest: (metrics: Task.Metrics, epoch: Int?)?
  /// Whether what a report shows is kept: the best and the worst predictions.
  var keepsReport = false
  /// Is told what is no error.
  var note: (String) -> Void = { _ in }
  private let looksAhead: Bool
  private let threads: Int
  private let start = ContinuousClock.now
  private var lastCheckpoint = ContinuousClock.now
  private let secondsBefore: Double
  private let overwriting: Bool

  init(
    _ task: Task, _ settings: TrainingSettings, _ runPrograms: RunPrograms, data: TrainingData,
    executor: Executor, backend: any Backend, scope: Scope, files: RunFiles,
    model: ModelFile, state: TrainingState, stepsPerEpoch: Int
  ) {
    self.task = task
    self.settings = settings
    self.runPrograms = runPrograms
    programs = runPrograms.all
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
  func run() throws -> EndRecord.Reason {
    do {
      return try epochs()
    } catch is EvaluationStopped {
      return .interrupted
    }
  }

  private func epochs() throws -> EndRecord.Reason {
    try sanityCheck()
    while progress.epoch < settings.epochs {
      // Also of a run that was killed between this epoch's checkpoint and its model.
      if hasLostPatience { return .earlyStopped }
      if let reason = reasonToStop { return reason }
      if let reason = try trainEpoch() { return reason }
      try endEpoch()
    }
    return .finished
  }

  /// A pass over the data, or what is left of it; nil: all steps are done.
  private func trainEpoch() throws -> EndRecord.Reason? {
    let first = progress.step
    guard first < progress.stepsPerEpoch else { return nil }
    var batches = UpcomingBatches(
      data.loader.epoch(progress.epoch, startingAt: first), looksAhead: looksAhead, task: task)
    progress.resumeClock()
    epochClock.begin()
    var waitedBefore = 0.0
    while progress.step < progress.stepsPerEpoch {
      if let reason = reasonToStop { return reason }
      guard let feed = batches.next() else { break }
      let results = try executor.run(
        program, feed: feed, next: batches.upcoming,
        fetch: programs.stepResults, scope: scope)
      let accuracy = results.count > 1 ? results[1].doubles[0] : 0
      progress.add(loss: results[0].doubles[0], accuracy: accuracy)
      try requireFinite(results[0].doubles[0])
      try begin()
      if progress.step == first + 1 { try showPictures(feed) }
      let waited = batches.waitedSeconds
      progress.state.times?.waiting += waited - waitedBefore
      waitedBefore = waited
      epochClock.add(waited: waited)
      try observers.step(record(loss: results[0].doubles[0], accuracy: accuracy))
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

  /// The program of the next step: several batches may make one update.
  private var program: Program {
    guard let accumulating = runPrograms.accumulating else { return programs.training }
    return (progress.stepsDone + 1).isMultiple(of: settings.accumulate)
      ? programs.training : accumulating
  }

  /// A step, or the evaluation of one, is done: what an overwritten run goes on with is removed,
  /// and the logs begin. Before it all files are as they were.
  private func begin() throws {
    guard let announce else { return }
    self.announce = nil
    if overwriting { files.removeOldRun() }
    try announce()
  }

  private func endEpoch() throws {
    try begin()
    epochClock.endSteps()
    let metrics = try evaluate()
    let evaluation = metrics.evaluation
    try requireFinite(evaluation.loss, "held-out loss")
    let isBest = progress.endEpoch(evaluation)
    report(progress)
    try observers.epoch(record(metrics.values, isBest: isBest))
    try observers.weights(step: progress.stepsDone) { [programs, scope] in
      programs.training.parameters.compactMap { variable in
        scope[variable.name].map { (variable.name, $0) }
      }
    }
    if isBest, settings.checkpoints.keepsBest { try timed(\.checkpoints) { try saveBest() } }
    unsavedMetrics = metrics
    if isBest, keepsReport { unsavedBest = (metrics, progress.epochsDone) }
    progress.openNextEpoch()
    let isKept = settings.checkpoints.everyEpochs.map { progress.epochsDone % $0 == 0 } ?? false
    // The first one at the end of the first epoch, so that a fault after it finds something to go
    // on with.
    if isKept || checkpointIsDue || !files.hasCheckpoint || progress.epoch == settings.epochs {
      try saveCheckpoint()
    }
    if isKept {
      try files.keepLast(asEpoch: progress.epochsDone, limit: settings.checkpoints.limit)
    }
  }

  var seconds: Double {
    secondsBefore + start.duration(to: .now) / .seconds(1)
  }

  private var reasonToStop: EndRecord.Reason? {
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

  /// The evaluation of the weights as they are, or of their average.
  ///
  /// - Parameter limit: of so many batches; nil: of all.
  /// - Throws: `EvaluationStopped` where a request to stop comes meanwhile: whoever has asked does
  ///   not wait for it, and a run that goes on begins with it.
  func evaluate(limit: Int? = nil) throws -> Task.Metrics {
    try timed(\.evaluation) {
      try withSavedWeights {
        try task.evaluate(
          programs, data.test, normalization: data.normalization, batchSize: settings.batchSize,
          limit: limit, executor: executor, scope: scope, workers: settings.workers
        ) { [observers, data, isInterrupted] done in
          try observers.validating(done: done, count: data.test.count)
          if done < data.test.count, isInterrupted() { throw EvaluationStopped() }
        }
      }
    }
  }

  /// Calls `body`, and counts its time.
  private func timed<R>(
    _ part: WritableKeyPath<RunTimes, Double>, _ body: () throws -> R
  ) rethrows -> R {
    let start = ContinuousClock.now
    defer { progress.state.times?[keyPath: part] += start.duration(to: .now) / .seconds(1) }
    return try body()
  }

  /// The evaluation of a run that has ended; nil where it was asked to stop meanwhile.
  func lastEvaluation() throws -> Evaluation? {
    do {
      let metrics = try evaluate()
      if progress.state.best == nil, keepsReport {
        unsavedBest = (metrics, nil)
        writeBest()
      }
      return metrics.evaluation
    } catch is EvaluationStopped {
      return nil
    }
  }

  /// Calls `body` with the weights in the scope that are evaluated and saved: the average, if there
  /// is one.
  func withSavedWeights<R>(_ body: () throws -> R) throws -> R {
    try runPrograms.average.map { try $0.apply(executor, scope: scope, body) } ?? body()
  }

  /// Some batches of an evaluation before the first epoch: what ends it ends it now.
  private func sanityCheck() throws {
    guard progress.stepsDone == 0, settings.sanityBatches > 0, !isInterrupted() else { return }
    _ = try evaluate(limit: settings.sanityBatches)
  }

  /// Writes what a report shows of the best evaluation. That it cannot be written ends no run.
  private func writeBest() {
    guard let best = unsavedBest else { return }
    unsavedBest = nil
    do {
      let shown = ShownData(
        split: data.test, classNames: data.classNames, white: model.rule.white)
      try AtomicFile.write(
        BestEvaluation.text(best.metrics, epoch: best.epoch, of: shown),
        to: "\(files.folder)/\(RunFiles.bestName)")
    } catch {
      note("the best and the worst predictions are not shown: \(error)")
    }
  }

  /// Writes the last checkpoint.
  func saveCheckpoint() throws { try timed(\.checkpoints) { try writeCheckpoint() } }

  private func writeCheckpoint() throws {
    progress.state.seconds = seconds
    try observers.willSaveCheckpoint(step: progress.stepsDone)
    if let metrics = unsavedMetrics {
      try AtomicFile.write(
        metrics.report(names: model.classNames), to: "\(files.folder)/\(RunFiles.metricsName)")
      unsavedMetrics = nil
    }
    writeBest()
    try files.prepareCheckpoints()
    try Checkpoint(
      state: progress.state,
      settings: settings.described(threads: threads).merging(data.identity) { $1 }
        .merging(model.pixels.texts) { $1 }
    ).write(programs.training, scope, to: files.last)
    files.noteCheckpoint()
    lastCheckpoint = .now
  }

  private func saveBest() throws {
    try withSavedWeights {
      _ = try model.write(
        TensorStream(programs.training.parameters, in: scope), toFolder: files.best)
    }
    files.noteSaved()
  }

  private func requireFinite(_ loss: Double, _ what: String = "loss") throws {
    let isFinite = loss.isFinite
    if isFinite && nonFinite.isFinite(scope) { return }
    let got =
      isFinite ? "a gradient that is not finite" : "\(what) \(loss.isNaN ? "nan" : "\(loss)")"
    let kept =
      files.hasCheckpoint
      ? "The last good checkpoint is \(quoted(files.last))." : "Nothing was saved."
    throw ABNError(
      .data, "training", at: "epoch \(progress.epoch + 1), step \(progress.step)",
      got: "\(got), first in \(nonFinite.place(scope, lossIsFinite: isFinite))",
      wanted: "finite numbers", fix: "\(kept) Choose a lower learning rate (--lr).")
  }
}
