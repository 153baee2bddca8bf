import ABNGraph
import ABNLayers
import ABNModels
import ABNRuntime
import ABNTensors

/// Whose mean and variance a run of the network normalizes with.
package enum NormalizationStatistics: String, Sendable {
  /// The moving ones: what a trained network is used with.
  case moving
  /// Those of the given images, as in a training step; dropout, where there is any, is as in
  /// training too. The moving ones stay as they are.
  case batch
}

extension ModelFile {
  /// The network's logits: [N, classes], or [N, classes, H, W] of a segmentation.
  ///
  /// - Parameters:
  ///   - images: float32 [N, C, H, W] as the network sees them in training: pixels less the mean,
  ///     through the deviation, of `normalization`. Any height and width that the layers can take.
  ///   - folder: what the model was read from, for errors.
  ///   - backend: runs it.
  /// - Throws: `ABNError(.shape)` or `.dtype` for other images, `.file` for a model that lacks
  ///   parameters or whose matrices fit another size of images.
  package func logits(
    of images: Tensor, statistics: NormalizationStatistics = .moving, folder: String,
    backend: any Backend
  ) throws -> Tensor {
    let wanted = "float32 [N, \(image[0]), height, width]"
    guard images.dtype == .float32 else {
      throw ABNError(.dtype, "images", got: "\(images.dtype)", wanted: wanted)
    }
    guard images.shape.rank == 4, images.shape[1] == image[0],
      images.shape.dimensions.allSatisfy({ $0 > 0 })
    else {
      throw ABNError(
        .shape, "images", got: "\(images.shape)", wanted: wanted,
        fix: "\(model.name) was made for images \(image).")
    }
    let builder = ProgramBuilder()
    let logits = try builder.build {
      let size = Shape([Shape.unknown] + images.shape.dimensions.dropFirst())
      return try model.build(ABNLayers.data("images", shape: size), options)
    }
    let program = statistics == .moving ? builder.main.cloned(forTest: true) : builder.main
    try requireParameters(fit: program, images.shape)
    let scope = try scope(
      for: program, startup: builder.startup, folder: folder, backend: backend)
    let executor = Executor(backend: backend)
    return try executor.run(program, feed: ["images": images], fetch: [logits], scope: scope)[0]
  }
}

extension ModelFile {
  /// Images of another size than the model's are fine where no parameter depends on the size.
  ///
  /// - Throws: `ABNError(.shape)` where one does.
  private func requireParameters(fit program: Program, _ images: Shape) throws {
    if Array(images.dimensions.dropFirst()) == image.dimensions { return }
    for variable in program.parameters {
      guard let value = parameters[variable.name], value.shape != variable.shape else { continue }
      throw ABNError(
        .shape, "images", got: "\(images[2]) x \(images[3])",
        wanted: "\(image[1]) x \(image[2]), which \(model.name) was made for",
        fix: "Its \(quoted(variable.name)) fits no other size: scale or crop the images.")
    }
  }
}
