import ABNGraph
import ABNLayers
import ABNModels
import ABNOperators
import ABNTensors

/// What a network that segments minimizes.
package struct SegmentationObjective: Sendable, Hashable {
  /// Which loss of the pixels.
  package var loss: SegmentationLossKind
  /// What a pixel of each class counts; nil: all the same.
  package var classWeights: [Double]?
  /// Whether the loss of the network's auxiliary head is added, `AuxiliaryHead.weight` times.
  package var usesAuxiliaryHead: Bool

  package init(
    loss: SegmentationLossKind = .crossEntropy, classWeights: [Double]? = nil,
    usesAuxiliaryHead: Bool = false
  ) {
    (self.loss, self.classWeights) = (loss, classWeights)
    self.usesAuxiliaryHead = usesAuxiliaryHead
  }

  /// The loss of logits [N, K, H, W], [1].
  fileprivate func minimized(_ logits: Variable, _ labels: Variable) throws -> Variable {
    try segmentationLoss(
      logits: logits, labels: labels, kind: loss, ignoreIndex: Self.ignoreIndex,
      classWeights: classWeights)
  }

  /// The label of pixels that do not count.
  package static let ignoreIndex = 255
}

/// A network as two programs: one that trains, one that evaluates.
package struct ClassifierPrograms {
  /// Forward, backward, update.
  package let training: Program
  /// Forward only, with the moving statistics.
  package let evaluation: Program
  /// Sets parameters and state.
  package let startup: Program
  /// What is minimized, [1]: the mean cross entropy over the batch, or the loss of a segmentation.
  package let loss: Variable
  /// The loss with the labels alone: `loss`, unless that is with soft labels or an auxiliary head.
  /// [1].
  package let labelLoss: Variable
  /// The share of the images that are right, [1]; nil of a segmentation, which is judged by counts
  /// over all pictures.
  package let accuracy: Variable?
  /// The numbers before softmax: [N, classes], or [N, classes, H, W] of a segmentation.
  package let logits: Variable
  /// What training feeds beside images and labels where the loss is with soft labels: the
  /// probability of each class, float32 [N, classes].
  package static let softLabels = "soft_labels"

  /// Builds a model with loss and accuracy and, if given, the optimizer's updates.
  ///
  /// - Parameters:
  ///   - usesSoftLabels: whether training is with probabilities of the classes.
  ///   - objective: of a network that segments.
  /// - Throws: what building throws; `ABNError(.attribute)` for an auxiliary head that the network
  ///   does not have.
  package init(
    _ model: Model, options: ModelOptions, image: Shape, seed: UInt64, usesSoftLabels: Bool = false,
    objective: SegmentationObjective = SegmentationObjective(),
    minimize: (Variable) throws -> Void = { _ in }
  ) throws {
    let builder = ProgramBuilder(seed: seed)
    (loss, labelLoss, accuracy, logits) = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + image.dimensions))
      let (logits, auxiliary) = try Self.outputs(model, images, options, objective)
      // A class for each image, or for each pixel where the logits are maps.
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([Shape.unknown, 1] + map), dtype: .int64)
      guard map.isEmpty else {
        let own = try objective.minimized(logits, labels)
        let loss = try auxiliary.map {
          try own + AuxiliaryHead.weight * objective.minimized($0, labels)
        }
        try minimize(loss ?? own)
        return (loss ?? own, own, nil, logits)
      }
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      let right = try ABNLayers.accuracy(logits, labels)
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

  private static func outputs(
    _ model: Model, _ images: Variable, _ options: ModelOptions,
    _ objective: SegmentationObjective
  ) throws -> (logits: Variable, auxiliary: Variable?) {
    guard objective.usesAuxiliaryHead else { return (try model.build(images, options), nil) }
    guard let head = model.auxiliaryHead else {
      throw ABNError(
        .attribute, "auxiliary head", got: "\(model.name), which has none",
        wanted: Model.all.filter { $0.auxiliaryHead != nil }.map(\.name).joined(separator: ", "),
        fix: "Leave --aux-head out.")
    }
    return try head.build(images, options)
  }

  /// What a training step gives: the loss and, where there is one, the accuracy.
  package var stepResults: [Variable] { [loss] + (accuracy.map { [$0] } ?? []) }

  /// The shapes of images and labels for a batch of this size; for training those of soft labels,
  /// where it takes them.
  package func feedShapes(batchSize: Int, training isTraining: Bool = false) throws -> [String:
    Shape]
  {
    let hasSoft = training.variable(named: Self.softLabels) != nil
    let soft = isTraining && hasSoft ? [Self.softLabels] : []
    return try Dictionary(
      uniqueKeysWithValues: (["images", "labels"] + soft).map { name in
        let shape = try training.requireVariable(named: name).shape
        return (name, Shape([batchSize] + shape.dimensions.dropFirst()))
      })
  }
}
