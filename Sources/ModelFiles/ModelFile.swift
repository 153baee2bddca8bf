import ABNActivations
import ABNData
import ABNFormats
import ABNGraph
import ABNModels
import ABNOperators
import ABNRuntime
import ABNTensors
import Foundation

/// A model on disk: its parameters and what is needed to build it again. `abn train` writes one,
/// `abn eval` and `abn predict` read one.
public struct ModelFile {
  /// Parameters and moving statistics by the names of the program.
  public var parameters: [String: Tensor]
  /// The network.
  public var model: Model
  /// How it was built.
  public var options: ModelOptions
  /// The images it was made for, [C, H, W].
  public var image: Shape
  /// What made the stored bytes of pixels the numbers that the network sees.
  public var normalization: ChannelNormalization
  /// The data it was trained on, as on the command line; nil where it came without.
  public var data: String?

  /// The file's name in its folder.
  public static let name = "model.safetensors"
  /// From version 2 on a model bears a checksum.
  static let format = FileFormat(kind: "model", major: 2)

  /// A model with these parameters.
  package init(
    parameters: [String: Tensor], model: Model, options: ModelOptions, image: Shape,
    normalization: ChannelNormalization, data: String?
  ) {
    self.parameters = parameters
    self.model = model
    self.options = options
    self.image = image
    self.normalization = normalization
    self.data = data
  }

  /// What the file says beside the parameters.
  var metadata: [String: String] {
    var metadata = [
      FileFormat.key: Self.format.description, Safetensors.checksumKey: "", "model": model.name,
      "norm": options.norm.rawValue, "activation": options.activation.name,
      "alpha": "\(options.activation.alpha ?? 1)", "classes": "\(options.classes)",
      "image": image.dimensions.map(String.init).joined(separator: "x"),
      "mean": normalization.mean.map { "\($0)" }.joined(separator: " "),
      "deviation": normalization.standardDeviation.map { "\($0)" }.joined(separator: " "),
    ]
    metadata["data"] = data
    return metadata
  }

  /// Reads the model in a folder.
  ///
  /// - Throws: `ABNError(.file)` for a folder without a model, or with a file that is none.
  public static func read(folder: String) throws -> ModelFile {
    let path = folder + "/" + name
    guard FileManager.default.fileExists(atPath: path) else {
      throw ABNError(
        .file, "folder \(quoted(folder))", got: "no \(name) there",
        wanted: "the output folder of a training run",
        fix: "Train first: abn train --output DIR.")
    }
    return try read(path)
  }

  /// - Throws: `ABNError(.file)` for a file that is no model of this package.
  static func read(_ path: String) throws -> ModelFile {
    // First: a newer version may count its checksum otherwise.
    let format = try FileFormat.read(
      Safetensors.names(path: path).metadata, kind: Self.format.kind, newest: Self.format.major,
      path: path)
    let (tensors, metadata) = try Safetensors.read(path: path)
    func field<T>(_ key: String, _ convert: (String) -> T?) throws -> T {
      guard let value = metadata[key].flatMap(convert) else {
        throw ABNError(
          .file, "model file \(quoted(path))", got: "\(key): \(metadata[key] ?? "nothing")",
          wanted: "a model saved by abn train", fix: "Pass the output folder of a training run.")
      }
      return value
    }
    func numbers(_ text: String) -> [Double]? {
      let values = text.split(separator: " ").map { Double($0) }
      return values.contains { $0 == nil } ? nil : values.map { $0! }
    }
    if format.major >= 2 { _ = try field(Safetensors.checksumKey) { $0 } }
    let options = ModelOptions(
      classes: try field("classes") { Int($0).flatMap { (1...1 << 20).contains($0) ? $0 : nil } },
      norm: try field("norm") { NormStyle(rawValue: $0) },
      activation: try Activation(
        named: field("activation") { $0 },
        alpha: field("alpha") { Double($0).flatMap { $0.isFinite ? $0 : nil } }))
    let image = Shape(
      try field("image") { text -> [Int]? in
        let words = text.split(separator: "x", omittingEmptySubsequences: false)
        let sizes = words.compactMap { Int($0) }
        let isPlausible = sizes.allSatisfy { (1...1 << 16).contains($0) }
        return words.count == 3 && sizes.count == 3 && isPlausible ? sizes : nil
      })
    return ModelFile(
      parameters: tensors, model: try Model.named(field("model") { $0 }), options: options,
      image: image,
      normalization: try ChannelNormalization(
        mean: field("mean", numbers), standardDeviation: field("deviation", numbers)),
      data: metadata["data"])
  }

  /// A scope with what a program needs: the parameters of this file, and for state that only
  /// training changes (the counters of dropout, say), which no file has, the values that training
  /// begins with.
  ///
  /// - Parameters:
  ///   - startup: sets the first values.
  ///   - folder: what the model was read from, for errors.
  /// - Throws: `ABNError(.file)` where a parameter is missing or of another type.
  package func scope(
    for program: Program, startup: Program, folder: String, backend: any Backend
  ) throws -> Scope {
    let scope = Scope()
    let state = program.persistables.filter { $0.parameterTraits == nil }
    if !state.isEmpty {
      try Executor(backend: backend).run(startup.setting(Set(state.map(\.name))), scope: scope)
    }
    for (name, value) in try values(for: program, folder: folder) { scope[name] = value }
    return scope
  }

  /// The parameters of a program, each of the type that it has there.
  ///
  /// - Throws: `ABNError(.file)` where one is missing or of another type.
  func values(for program: Program, folder: String) throws -> [String: Tensor] {
    var values: [String: Tensor] = [:]
    for variable in program.parameters {
      let value = parameters[variable.name]
      guard let value, value.shape == variable.shape, value.dtype == variable.dtype else {
        throw ABNError(
          .file, "model file \(quoted(folder + "/" + Self.name)): \(quoted(variable.name))",
          got: value.map { "\($0.dtype)\($0.shape)" } ?? "nothing", wanted: "\(variable.type)",
          fix: "Train again with this version.")
      }
      values[variable.name] = value
    }
    return values
  }
}
