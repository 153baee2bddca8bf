import ABNData
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
  /// The result so far.
  var evaluation: Evaluation { get }
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

  package init(_ model: Model, options: ModelOptions, image: Shape) {
    self.model = model
    self.options = options
    self.image = image
  }

  package func programs(
    seed: UInt64, minimize: (Variable) throws -> Void
  ) throws -> ClassifierPrograms {
    try ClassifierPrograms(model, options: options, image: image, seed: seed, minimize: minimize)
  }

  package func evaluationFetches(_ programs: ClassifierPrograms) -> [Variable] {
    [programs.labelLoss, programs.accuracy]
  }

  package func newMetrics() -> ClassificationCounts { ClassificationCounts() }
}

/// Loss and right answers.
package struct ClassificationCounts: TaskMetrics {
  private var loss = 0.0
  private var right = 0.0
  private var count = 0

  package mutating func add(_ results: [Tensor], _ batch: Batch) {
    loss += results[0].doubles[0] * Double(batch.count)
    // The share is a float32; the number of right answers is whole, whatever the batch size.
    right += (results[1].doubles[0] * Double(batch.count)).rounded()
    count += batch.count
  }

  package var evaluation: Evaluation {
    Evaluation(
      accuracy: right / Double(max(count, 1)), loss: loss / Double(max(count, 1)), count: count)
  }
}
