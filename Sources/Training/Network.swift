import ABNCPUBackend
import ABNData
import ABNFormats
import ABNGraph
import ABNLayers
import ABNModels
import ABNOperations
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// A classifier as two programs: one that trains, one that evaluates.
struct ClassifierPrograms {
  /// Forward, backward, update.
  let training: Program
  /// Forward only, with the moving statistics.
  let evaluation: Program
  /// Sets parameters and state.
  let startup: Program
  /// Mean loss over the batch, and over the pixels of a segmentation, [1].
  let loss: Variable
  /// Share of the images, or pixels, that are right, [1].
  let accuracy: Variable

  /// Builds a model with loss and accuracy and, if given, the optimizer's updates.
  init(
    _ model: Model, options: ModelOptions, image: Shape, seed: UInt64,
    minimize: (Variable) throws -> Void = { _ in }
  ) throws {
    let builder = ProgramBuilder(seed: seed)
    (loss, accuracy) = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + image.dimensions))
      let logits = try model.build(images, options)
      // A class for each image, or for each pixel where the logits are maps.
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([Shape.unknown, 1] + map), dtype: .int64)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      let right = try ABNLayers.accuracy(
        rows(logits, options.classes), map.isEmpty ? labels : reshape(labels, [-1, 1]))
      try minimize(loss)
      return (loss, right)
    }
    training = builder.main
    evaluation = builder.main.cloned(forTest: true)
    startup = builder.startup
  }

  /// The shapes of images and labels for a batch of this size.
  func feedShapes(batchSize: Int) throws -> [String: Shape] {
    try Dictionary(
      uniqueKeysWithValues: ["images", "labels"].map { name in
        let shape = try training.requireVariable(named: name).shape
        return (name, Shape([batchSize] + shape.dimensions.dropFirst()))
      })
  }

  /// The planned peak of a training step.
  func plannedPeakBytes(batchSize: Int) throws -> Int {
    try Executor(backend: CPUBackend(), mode: .compact, memoryLimit: .none).compile(
      training, feed: feedShapes(batchSize: batchSize), fetch: [loss, accuracy]
    ).plannedPeakBytes
  }

  /// The largest batch of at least 2 and less than `limit` that needs at most `bytes`.
  ///
  /// Plans some log2(limit) batch sizes; nil where none fits.
  ///
  /// - Parameter planned: what a batch size needs; nil: a training step's planned peak.
  func largestBatchSize(
    fitting bytes: Int, below limit: Int, planned: ((Int) throws -> Int)? = nil
  ) throws -> Int? {
    let planned = planned ?? plannedPeakBytes(batchSize:)
    var (fits, tooLarge) = (1, limit)
    while tooLarge - fits > 1 {
      let middle = (fits + tooLarge) / 2
      if try planned(middle) <= bytes {
        fits = middle
      } else {
        tooLarge = middle
      }
    }
    return fits >= 2 ? fits : nil
  }
}

/// Logits with the classes last, a row for each image or pixel.
private func rows(_ logits: Variable, _ classes: Int) throws -> Variable {
  guard logits.shape.rank == 4 else { return logits }
  return try reshape(transpose(logits, [0, 2, 3, 1]), [-1, classes])
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
        .data, "data \"\(dataset.name)\"", got: "a class for each image",
        wanted: "a class for each pixel, which \(name) is trained with",
        fix: "Choose a network that classifies images, as lenet or resnet20 do.")
    }
  }
}
