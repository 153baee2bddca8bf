import ABNData
import ABNGraph
import ABNLayers
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors
import Foundation

/// How a classifier does on a split.
public struct Evaluation: Sendable, Codable, Equatable {
  /// The share of the images that are classified right, 0...1.
  public let accuracy: Double
  /// The mean loss.
  public let loss: Double
  /// The number of images.
  public let count: Int
}

extension TrainingTask {
  /// Runs the evaluation program over a split, the last, smaller batch included.
  ///
  /// - Parameters:
  ///   - limit: so many batches; nil: all.
  ///   - report: is told how many pictures are done.
  func evaluate(
    _ programs: ClassifierPrograms, _ split: DataSplit, normalization: ChannelNormalization,
    batchSize: Int, limit: Int? = nil, executor: Executor, scope: Scope,
    workers: Int = 1, report: (Int) throws -> Void = { _ in }
  ) throws -> Metrics {
    var options = BatchLoader.Options(
      batchSize: min(batchSize, split.count), isShuffled: false, lastBatch: .kept)
    options.workers = workers
    let loader = try BatchLoader(split, normalization: normalization, options: options)
    var done = 0
    var metrics = newMetrics()
    let fetches = evaluationFetches(programs)
    for batch in loader.epoch(0).prefix(limit ?? .max) {
      let results = try executor.run(
        programs.evaluation, feed: evaluationFeed(batch), fetch: fetches, scope: scope)
      try metrics.add(results, batch)
      Interruption.noteStep()
      done += batch.count
      try report(done)
    }
    return metrics
  }
}

/// Evaluates a saved model.
///
/// - Parameters:
///   - folder: the output folder of a training run.
///   - data: the data to evaluate on; nil: those it was trained with.
///   - backend: runs it.
/// - Throws: `ABNError(.file)` for a folder without a model or a damaged one, `ABNError(.data)` for
///   data that do not fit it.
public func evaluateModel(
  in folder: String, data: DataSource? = nil, batchSize: Int = 128, backend: any Backend
) throws -> Evaluation {
  let evaluation = try ModelEvaluation(folder: folder, data: data, backend: backend)
  return try evaluation.metrics(
    batchSize: batchSize, executor: Executor(backend: backend)
  ).evaluation
}

extension Model {
  /// Checks that the model can be trained and evaluated on these data, before anything is written.
  ///
  /// - Throws: `ABNError(.shape)` for images of a size that it cannot take, `ABNError(.data)` for a
  ///   network that segments: the data have one class an image.
  func requireClassifies(_ dataset: Dataset, _ options: ModelOptions) throws {
    let builder = ProgramBuilder()
    let logits = try builder.build {
      try build(
        data("images", shape: Shape([Shape.unknown] + dataset.imageShape.dimensions)), options)
    }
    guard logits.shape.rank == 2 else {
      throw ABNError(
        .data, "data \(quoted(dataset.name))", got: "a class for each image",
        wanted: "a class for each pixel, which \(name) is trained with",
        fix: "Choose a network that classifies images, as lenet or resnet20 do.")
    }
  }
}
