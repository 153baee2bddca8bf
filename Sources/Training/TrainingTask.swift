import ABNData
import ABNFormats
import ABNGraph
import ABNLayers
import ABNModelFiles
import ABNModels
import ABNTensors

/// What a training loop trains for: what is fed, what is minimized, what is counted. The loop, its
/// checkpoints and its logs are the same for every task.
package protocol TrainingTask: Sendable {
  associatedtype Metrics: TaskMetrics

  /// The programs of a run; `minimize` appends the updates behind the loss.
  func programs(seed: UInt64, minimize: (Variable) throws -> Void) throws -> ClassifierPrograms
  /// What a step is fed of a batch.
  func feed(_ batch: Batch) -> [String: Tensor]
  /// What an evaluation step is fed of a batch.
  func evaluationFeed(_ batch: Batch) -> [String: Tensor]
  /// What `Metrics` counts with.
  func evaluationFetches(_ programs: ClassifierPrograms) -> [Variable]
  /// Counts, with nothing in them yet.
  func newMetrics() -> Metrics
}

/// What an evaluation counts, batch by batch.
package protocol TaskMetrics: Sendable {
  /// Adds a batch.
  ///
  /// - Parameter results: the values of the task's `evaluationFetches`.
  mutating func add(_ results: [Tensor], _ batch: Batch) throws
  /// What a summary says; the larger its `accuracy`, the better are the weights.
  var evaluation: Evaluation { get }
  /// What logs say, in this order.
  var values: [NamedValue] { get }
  /// All that was counted, as JSON: `metrics.json` of a run.
  ///
  /// - Parameter names: what the classes are called.
  func report(names: [String]) throws -> String
}

extension TrainingTask {
  package func feed(_ batch: Batch) -> [String: Tensor] { evaluationFeed(batch) }
  package func evaluationFeed(_ batch: Batch) -> [String: Tensor] {
    ["images": batch.images, "labels": batch.labels]
  }
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
    var feed = evaluationFeed(batch)
    if usesSoftLabels { feed[ClassifierPrograms.softLabels] = batch.softLabels }
    return feed
  }

  package func evaluationFetches(_ programs: ClassifierPrograms) -> [Variable] {
    [programs.labelLoss, programs.logits]
  }

  package func newMetrics() -> ClassificationMetrics {
    ClassificationMetrics(classCount: options.classes)
  }
}

extension ClassificationMetrics: TaskMetrics {
  package mutating func add(_ results: [Tensor], _ batch: Batch) throws {
    try add(logits: results[1], labels: batch.labels, meanLoss: results[0].doubles[0])
  }

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
