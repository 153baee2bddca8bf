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
    try Executor(backend: CPUBackend(), mode: .compact).compile(
      training, feed: feedShapes(batchSize: batchSize), fetch: [loss, accuracy]
    ).plannedPeakBytes
  }

  /// The largest batch of at least 2 and less than `limit` whose planned peak is at most `bytes`.
  ///
  /// Plans some log2(limit) batch sizes; nil where none fits.
  func largestBatchSize(fitting bytes: Int, below limit: Int) throws -> Int? {
    var (fits, tooLarge) = (1, limit)
    while tooLarge - fits > 1 {
      let middle = (fits + tooLarge) / 2
      if try plannedPeakBytes(batchSize: middle) <= bytes {
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

/// A trained model on disk: its parameters and what is needed to build it again.
struct ModelFile {
  var parameters: [String: Tensor]
  var model: Model
  var options: ModelOptions
  var image: Shape
  var normalization: ChannelNormalization
  var data: String

  /// Its name in the output folder.
  static let name = "model.safetensors"
  static let format = "swift-inplace-abn model 1"

  func write(to path: String) throws {
    try Safetensors.write(
      parameters,
      metadata: [
        "format": Self.format, "model": model.name, "norm": options.norm.rawValue,
        "activation": options.activation.name, "alpha": "\(options.alpha)",
        "classes": "\(options.classes)",
        "image": image.dimensions.map(String.init).joined(separator: "x"),
        "mean": normalization.mean.map { "\($0)" }.joined(separator: " "),
        "deviation": normalization.standardDeviation.map { "\($0)" }.joined(separator: " "),
        "data": data,
      ], to: path)
  }

  /// - Throws: `ABNError(.file)` for a file that is no model of this package.
  static func read(_ path: String) throws -> ModelFile {
    let (tensors, metadata) = try Safetensors.read(path: path)
    func field<T>(_ key: String, _ convert: (String) -> T?) throws -> T {
      guard let value = metadata[key].flatMap(convert) else {
        throw ABNError(
          .file, "model file \"\(path)\"", got: "\(key): \(metadata[key] ?? "nothing")",
          wanted: "a model saved by abn train", fix: "Pass the output folder of a training run.")
      }
      return value
    }
    func numbers(_ text: String) -> [Double]? {
      let values = text.split(separator: " ").map { Double($0) }
      return values.contains { $0 == nil } ? nil : values.map { $0! }
    }
    _ = try field("format") { $0 == format ? $0 : nil }
    let options = ModelOptions(
      classes: try field("classes") { Int($0).flatMap { (1...1 << 20).contains($0) ? $0 : nil } },
      norm: try field("norm") { NormStyle(rawValue: $0) },
      activation: Activation(named: try field("activation") { $0 }),
      alpha: try field("alpha") { Double($0).flatMap { $0.isFinite ? $0 : nil } })
    let image = Shape(
      try field("image") { text -> [Int]? in
        let sizes = text.split(separator: "x").compactMap { Int($0) }
        let isPlausible = sizes.count == 3 && sizes.allSatisfy { (1...1 << 16).contains($0) }
        return isPlausible ? sizes : nil
      })
    return ModelFile(
      parameters: tensors, model: try Model.named(field("model") { $0 }), options: options,
      image: image,
      normalization: try ChannelNormalization(
        mean: field("mean", numbers), standardDeviation: field("deviation", numbers)),
      data: try field("data") { $0 })
  }
}
