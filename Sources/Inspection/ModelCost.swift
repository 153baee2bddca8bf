import ABNGraph
import ABNModelFiles
import ABNModels
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// What a model costs, for images and classes of the kind that it was made for.
package struct ModelCost: Sendable, Codable {
  /// The model's name.
  package let name: String
  /// One line for people.
  package let summary: String
  /// [C, H, W].
  package let image: [Int]
  /// The number of logits of an image, or of a pixel.
  package let classes: Int
  /// Numbers that an optimizer trains; moving statistics are not among them.
  package let parameters: Int
  /// Of the forward pass of one image. See `Program.multiplyAdds`.
  package let multiplyAdds: Int
  /// What one more image adds to the planned peak of a training step; nil where it was not asked
  /// for.
  package let plannedBytesPerImage: Int?
}

extension Model {
  /// Counts parameters and multiply-adds and, if asked for, plans training steps.
  ///
  /// Memory is half the difference of the planned peaks (arena, parameters and state) at 16 and at
  /// 18 images, trained by SGD with momentum; nothing is run.
  ///
  /// - Parameters:
  ///   - plansMemory: whether to plan, which takes a second for most deep networks.
  ///   - backend: lowers what is planned.
  package func cost(
    norm: NormStyle = .inplace, plansMemory: Bool = false, backend: any Backend
  ) throws -> ModelCost {
    let programs = try ClassifierPrograms(
      self, options: ModelOptions(classes: classes, norm: norm), image: image, seed: 0
    ) { loss in
      if plansMemory {
        _ = try Momentum(learningRate: 0.01, momentum: 0.9).minimize(loss)
      }
    }
    var planned: Int?
    if plansMemory {
      let executor = Executor(backend: backend, memoryLimit: .none)
      let peaks = try [16, 18].map { batchSize in
        try executor.compile(
          programs.training, feed: programs.feedShapes(batchSize: batchSize),
          fetch: [programs.loss]
        ).plannedPeakBytes
      }
      planned = (peaks[1] - peaks[0]) / 2
    }
    return ModelCost(
      name: name, summary: summary, image: image.dimensions, classes: classes,
      parameters: programs.training.trainedParameterCount,
      multiplyAdds: programs.evaluation.multiplyAdds, plannedBytesPerImage: planned)
  }
}
