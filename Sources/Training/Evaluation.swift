import ABNData
import ABNGraph
import ABNLayers
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors
import Foundation

/// How a network does on a split.
public struct Evaluation: Sendable, Codable, Equatable {
  /// The share of the images that are classified right, 0...1; of a network that segments, the mean
  /// over the classes of intersection over union.
  public let accuracy: Double
  /// The mean loss.
  public let loss: Double
  /// The number of images.
  public let count: Int
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
  ///   network that segments where the data have one class an image, and the other way round.
  func requireFits(_ dataset: Dataset, _ options: ModelOptions) throws {
    let builder = ProgramBuilder()
    let logits = try builder.build {
      try build(
        data("images", shape: Shape([Shape.unknown] + dataset.imageShape.dimensions)), options)
    }
    let segments = logits.shape.rank == 4
    guard segments != (dataset.pixelClasses != nil) else { return }
    func text(_ ofPixels: Bool) -> String { "a class for each \(ofPixels ? "pixel" : "image")" }
    throw ABNError(
      .data, "data \(quoted(dataset.name))", got: text(!segments),
      wanted: "\(text(segments)), which \(name) is trained with",
      fix: segments
        ? "Choose a network that classifies images, as lenet or resnet20 do."
        : "Choose a network that segments, as unet does.")
  }
}
