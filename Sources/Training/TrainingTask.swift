import ABNData
import ABNFormats
import ABNGraph
import ABNLayers
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors

/// What a training loop trains for: what is fed, what is minimized, what is counted. The loop, its
/// checkpoints and its logs are the same for every task.
package protocol TrainingTask: Sendable {
  associatedtype Metrics: TaskMetrics

  /// The programs of a run; `minimize` appends the updates behind the loss.
  func programs(seed: UInt64, minimize: (Variable) throws -> Void) throws -> ClassifierPrograms
  /// What a step is fed of a batch.
  func feed(_ batch: Batch) -> [String: Tensor]
  /// Counts, with nothing in them yet.
  func newMetrics() -> Metrics
  /// A step of an evaluation, compiled for the plan of a run's memory.
  ///
  /// - Parameters:
  ///   - batchSize: that of training.
  ///   - workers: the threads that prepare batches.
  func compileEvaluation(
    _ programs: ClassifierPrograms, _ split: DataSplit, batchSize: Int, workers: Int,
    executor: Executor
  ) throws -> CompiledEvaluation
  /// What comes out on a split.
  ///
  /// - Parameters:
  ///   - batchSize: that of training.
  ///   - limit: the pictures of so many batches; nil: all.
  ///   - report: is told how many pictures are done.
  func evaluate(
    _ programs: ClassifierPrograms, _ split: DataSplit, normalization: ChannelNormalization,
    batchSize: Int, limit: Int?, executor: Executor, scope: Scope, workers: Int,
    report: (Int) throws -> Void
  ) throws -> Metrics
  /// The same task with the other normalization, for comparing plans; nil: there is none.
  func withNorm(_ norm: NormStyle) -> Self?
}

/// What a step of an evaluation needs.
package struct CompiledEvaluation {
  let executable: Executable
  /// Bytes beside the arena that are more than the batches of training: results, and pictures of
  /// other sizes.
  var hostBytes = 0
}

/// What an evaluation has counted.
package protocol TaskMetrics: Sendable {
  /// What a summary says; the larger its `accuracy`, the better are the weights.
  var evaluation: Evaluation { get }
  /// What logs say, in this order.
  var values: [NamedValue] { get }
  /// All that was counted, as JSON: `metrics.json` of a run.
  ///
  /// - Parameter names: what the classes are called.
  func report(names: [String]) throws -> String
  /// The best and the worst predictions that were counted, as pictures.
  func predictions(of data: ShownData) throws -> [PredictionGroup]
}

extension TaskMetrics {
  package func predictions(of data: ShownData) throws -> [PredictionGroup] { [] }
}

extension TrainingTask {
  package func withNorm(_ norm: NormStyle) -> Self? { nil }
}

/// A class for each picture.
package struct ClassificationTask: TrainingTask {
  let model: Model
  let options: ModelOptions
  /// [C, H, W].
  let image: Shape
  /// Whether training is with shares of the classes.
  let usesSoftLabels: Bool

  package init(
    _ model: Model, options: ModelOptions, image: Shape, usesSoftLabels: Bool = false
  ) {
    self.model = model
    self.options = options
    self.image = image
    self.usesSoftLabels = usesSoftLabels
  }

  package func programs(
    seed: UInt64, minimize: (Variable) throws -> Void
  ) throws -> ClassifierPrograms {
    try ClassifierPrograms(
      model, options: options, image: image, seed: seed, usesSoftLabels: usesSoftLabels,
      minimize: minimize)
  }

  package func feed(_ batch: Batch) -> [String: Tensor] {
    var feed = ["images": batch.images, "labels": batch.labels]
    if usesSoftLabels { feed[ClassifierPrograms.softLabels] = batch.softLabels }
    return feed
  }

  package func newMetrics() -> ClassificationMetrics {
    ClassificationMetrics(classCount: options.classes)
  }

  /// The evaluation program, for a batch as in training.
  package func compileEvaluation(
    _ programs: ClassifierPrograms, _ split: DataSplit, batchSize: Int, workers: Int,
    executor: Executor
  ) throws -> CompiledEvaluation {
    CompiledEvaluation(
      executable: try executor.compile(
        programs.evaluation, feed: programs.feedShapes(batchSize: min(batchSize, split.count)),
        fetch: [programs.labelLoss, programs.logits]))
  }

  /// Runs the evaluation program over a split, the last, smaller batch included.
  package func evaluate(
    _ programs: ClassifierPrograms, _ split: DataSplit, normalization: ChannelNormalization,
    batchSize: Int, limit: Int?, executor: Executor, scope: Scope, workers: Int,
    report: (Int) throws -> Void
  ) throws -> ClassificationMetrics {
    var options = BatchLoader.Options(
      batchSize: min(batchSize, split.count), isShuffled: false, lastBatch: .kept)
    options.workers = workers
    let loader = try BatchLoader(split, normalization: normalization, options: options)
    var done = 0
    var metrics = newMetrics()
    let fetches = [programs.labelLoss, programs.logits]
    for batch in loader.epoch(0).prefix(limit ?? .max) {
      let results = try executor.run(
        programs.evaluation, feed: ["images": batch.images, "labels": batch.labels],
        fetch: fetches, scope: scope)
      try metrics.add(
        logits: results[1], labels: batch.labels, meanLoss: results[0].doubles[0],
        samples: batch.samples)
      Interruption.noteStep()
      done += batch.count
      try report(done)
    }
    return metrics
  }

  package func withNorm(_ norm: NormStyle) -> ClassificationTask? {
    var options = options
    options.norm = norm
    return ClassificationTask(
      model, options: options, image: image, usesSoftLabels: usesSoftLabels)
  }
}

extension ClassificationMetrics: TaskMetrics {
  package func predictions(of data: ShownData) -> [PredictionGroup] { picks.groups(of: data) }

  package var evaluation: Evaluation {
    Evaluation(accuracy: accuracy, loss: meanLoss, count: count)
  }

  package func report(names: [String]) throws -> String {
    try JSON(encoding: ClassificationReport(self, names: names)).lines
  }

  package var values: [NamedValue] {
    var values = [NamedValue("loss", meanLoss), NamedValue("accuracy", accuracy)]
    // Of five classes or fewer all are among the best five.
    if classCount > 5 {
      values.append(NamedValue("top5", top5Accuracy))
    }
    return values
  }
}
