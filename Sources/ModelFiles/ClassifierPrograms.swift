import ABNGraph
import ABNLayers
import ABNModels
import ABNOperators
import ABNTensors

/// A classifier as two programs: one that trains, one that evaluates.
package struct ClassifierPrograms {
  /// Forward, backward, update.
  package let training: Program
  /// Forward only, with the moving statistics.
  package let evaluation: Program
  /// Sets parameters and state.
  package let startup: Program
  /// The mean of what is minimized over the batch, and over the pixels of a segmentation, [1].
  package let loss: Variable
  /// The mean cross entropy with the labels: `loss`, unless that is with soft labels. [1].
  package let labelLoss: Variable
  /// Share of the images, or pixels, that are right, [1].
  package let accuracy: Variable
  /// The numbers before softmax: [N, classes], or [N, classes, H, W] of a segmentation.
  package let logits: Variable
  /// What training feeds beside images and labels where the loss is with soft labels: the
  /// probability of each class, float32 [N, classes].
  package static let softLabels = "soft_labels"

  /// Builds a model with loss and accuracy and, if given, the optimizer's updates.
  ///
  /// - Parameter usesSoftLabels: whether training is with probabilities of the classes.
  package init(
    _ model: Model, options: ModelOptions, image: Shape, seed: UInt64, usesSoftLabels: Bool = false,
    minimize: (Variable) throws -> Void = { _ in }
  ) throws {
    let builder = ProgramBuilder(seed: seed)
    (loss, labelLoss, accuracy, logits) = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + image.dimensions))
      let logits = try model.build(images, options)
      // A class for each image, or for each pixel where the logits are maps.
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([Shape.unknown, 1] + map), dtype: .int64)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      let right = try ABNLayers.accuracy(
        rows(logits, options.classes), map.isEmpty ? labels : reshape(labels, [-1, 1]))
      guard usesSoftLabels else {
        try minimize(loss)
        return (loss, loss, right, logits)
      }
      let soft = try data(Self.softLabels, shape: [Shape.unknown, options.classes])
      let softLoss = try mean(softmaxWithCrossEntropy(logits, soft, softLabel: true, axis: 1))
      try minimize(softLoss)
      return (softLoss, loss, right, logits)
    }
    training = builder.main
    evaluation = builder.main.cloned(forTest: true)
    startup = builder.startup
  }

  /// The shapes of images and labels for a batch of this size; for training those of soft labels,
  /// where it takes them.
  package func feedShapes(batchSize: Int, training isTraining: Bool = false) throws -> [String:
    Shape]
  {
    let soft = isTraining && loss.id != labelLoss.id ? [Self.softLabels] : []
    return try Dictionary(
      uniqueKeysWithValues: (["images", "labels"] + soft).map { name in
        let shape = try training.requireVariable(named: name).shape
        return (name, Shape([batchSize] + shape.dimensions.dropFirst()))
      })
  }
}

/// Logits with the classes last, a row for each image or pixel.
private func rows(_ logits: Variable, _ classes: Int) throws -> Variable {
  guard logits.shape.rank == 4 else { return logits }
  return try reshape(transpose(logits, [0, 2, 3, 1]), [-1, classes])
}
