import ABNData
import ABNGraph
import ABNLayers
import ABNModels
import ABNRuntime
import ABNTensors
import Foundation

/// What a classifier says of one picture.
package struct Prediction: Sendable, Encodable {
  /// A class with its share.
  package struct Guess: Sendable, Encodable {
    /// The class's name, or its number where nobody said what it is called.
    package let name: String
    /// Its number.
    package let number: Int
    /// The probability that the network gives it: softmax of the logits.
    package let probability: Double
  }

  /// The picture's file.
  package let path: String
  /// The classes, the likeliest first; of equal ones the lower number.
  package let guesses: [Guess]
}

/// A saved classifier that is ready to be shown pictures.
package struct Classifier {
  private let file: ModelFile
  private let program: Program
  private let logits: Variable
  private let scope: Scope
  private let executor: Executor

  /// Builds the network of a model.
  ///
  /// - Parameter folder: what the model was read from, for errors.
  /// - Throws: `ABNError(.unsupported)` for a network that segments; `ABNError(.file)` for a model
  ///   that lacks parameters.
  package init(_ file: ModelFile, folder: String, backend: any Backend) throws {
    let builder = ProgramBuilder()
    logits = try builder.build {
      try file.model.build(
        ABNLayers.data("images", shape: Shape([Shape.unknown] + file.image.dimensions)),
        file.options)
    }
    guard logits.shape.rank == 2 else {
      throw ABNError(
        .unsupported, "model \(quoted(folder))", got: "\(file.model.name), which segments",
        wanted: "a network that classifies pictures",
        fix: "Give it an array of images: --input and --output.")
    }
    program = builder.main.cloned(forTest: true)
    scope = try file.scope(for: program, startup: builder.startup, folder: folder, backend: backend)
    executor = Executor(backend: backend)
    self.file = file
  }

  /// Decodes a picture, prepares it as the network was trained, and runs the network.
  ///
  /// - Parameter count: of the likeliest classes; all where there are fewer.
  /// - Throws: `ABNError(.file)` with the path for what is no whole picture, `ABNError(.data)` for
  ///   logits that are no numbers.
  package func predict(path: String, count: Int) throws -> Prediction {
    let images = try file.rule.prepare(path: path)
    let values = try executor.run(
      program, feed: ["images": images], fetch: [logits], scope: scope)[0].doubles
    guard values.allSatisfy(\.isFinite) else {
      throw ABNError(
        .data, "prediction of \(quoted(path))", got: "logits that are no finite numbers",
        wanted: "numbers", fix: "Train again, with a lower learning rate.")
    }
    let most = values.max() ?? 0
    let powers = values.map { exp($0 - most) }
    let sum = powers.reduce(0, +)
    let order = values.indices.sorted { (-values[$0], $0) < (-values[$1], $1) }
    return Prediction(
      path: path,
      guesses: order.prefix(count).map {
        .init(name: file.className($0), number: $0, probability: powers[$0] / sum)
      })
  }
}
