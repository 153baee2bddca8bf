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
  /// - Parameter limit: so many batches; nil: all.
  func evaluate(
    _ programs: ClassifierPrograms, _ split: DataSplit, normalization: ChannelNormalization,
    batchSize: Int, limit: Int? = nil, executor: Executor, scope: Scope
  ) throws -> Evaluation {
    let loader = try BatchLoader(
      split, normalization: normalization,
      options: .init(
        batchSize: min(batchSize, split.count), isShuffled: false, lastBatch: .kept))
    var metrics = newMetrics()
    let fetches = evaluationFetches(programs)
    for batch in loader.epoch(0).prefix(limit ?? .max) {
      let results = try executor.run(
        programs.evaluation, feed: evaluationFeed(batch), fetch: fetches, scope: scope)
      try metrics.add(results, batch)
      Interruption.noteStep()
    }
    return metrics.evaluation
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
  let file = try ModelFile.read(folder: folder)
  guard let source = try data ?? file.data.map(DataSource.parse) else {
    throw ABNError(
      .data, "folder \(quoted(folder))", got: "a model that came without data",
      wanted: "data to evaluate it on", fix: "Name them with --data.")
  }
  let dataset = try source.load()
  guard dataset.imageShape == file.image, dataset.classCount == file.options.classes else {
    throw ABNError(
      .data, "data \(quoted(dataset.name))",
      got: "images \(dataset.imageShape) in \(dataset.classCount) classes",
      wanted:
        "images \(file.image) in \(file.options.classes) classes, as the model was trained on",
      fix: file.data.map { "Evaluate on \($0), or train on these data." } ?? "")
  }
  try file.model.requireClassifies(dataset, file.options)
  let task = ClassificationTask(file.model, options: file.options, image: file.image)
  let programs = try task.programs(seed: 0) { _ in }
  let scope = try file.scope(
    for: programs.evaluation, startup: programs.startup, folder: folder, backend: backend)
  return try task.evaluate(
    programs, dataset.test, normalization: file.normalization, batchSize: batchSize,
    executor: Executor(backend: backend), scope: scope)
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
