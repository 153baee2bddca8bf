import ABNActivations
import ABNData
import ABNFormats
import ABNGraph
import ABNImages
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
  /// What the classes are called, in their order; empty where nobody said.
  package var classNames: [String] = []
  /// The classes of pixels, of a network that segments and was trained on masks.
  package var pixelClasses: PixelClasses?
  /// What becomes of the size of a picture before the network sees it: see
  /// `PictureGeometry.resize`.
  package var resize: Int?
  /// What white is in the units of the stored bytes that `normalization` is in.
  package var white = 255.0

  /// The file's name in its folder.
  public static let name = "model.safetensors"
  /// From version 2 on a model bears a checksum.
  /// From 2.1 on it may say what the classes are called and how pictures are resized.
  static let format = FileFormat(kind: "model", major: 2, minor: 1)
  /// From 2.2 on what numbers and colours of masks stand for.
  private static let formatOfMasks = FileFormat(kind: "model", major: 2, minor: 2)

  /// A model with these parameters.
  ///
  /// - Parameter dataset: says what the classes are called and how pictures are resized; nil:
  ///   nobody does.
  package init(
    parameters: [String: Tensor], model: Model, options: ModelOptions, image: Shape,
    normalization: ChannelNormalization, data: String?, dataset: Dataset? = nil
  ) {
    self.parameters = parameters
    self.model = model
    self.options = options
    self.image = image
    self.normalization = normalization
    self.data = data
    if let dataset {
      (classNames, white) = (dataset.classNames, dataset.white)
      pixelClasses = dataset.pixelClasses
      resize = dataset.rule.geometry.resize
    }
  }

  /// How a picture becomes what the network sees.
  package var rule: PictureRule {
    PictureRule(
      channels: image[0],
      geometry: PictureGeometry(
        size: PictureSize(height: image[1], width: image[2]), resize: resize),
      normalization: normalization, white: white)
  }

  /// What the bytes of pixels become.
  package var pixels: PixelScale { PixelScale(normalization: normalization, white: white) }

  /// What a class is called: its number where nobody said.
  package func className(_ number: Int) -> String {
    classNames.indices.contains(number) ? classNames[number] : "\(number)"
  }

  /// What the file says beside the parameters.
  var metadata: [String: String] {
    var metadata = [
      FileFormat.key: (pixelClasses == nil ? Self.format : Self.formatOfMasks).description,
      Safetensors.checksumKey: "", "model": model.name,
      "norm": options.norm.rawValue, "activation": options.activation.name,
      "alpha": "\(options.activation.alpha ?? 1)", "classes": "\(options.classes)",
      "image": image.dimensions.map(String.init).joined(separator: "x"),
    ]
    metadata.merge(pixels.texts) { $1 }
    metadata["data"] = data
    if !classNames.isEmpty {
      metadata["class_names"] = JSON.array(classNames.map { .string($0) }).line
    }
    metadata["mask_classes"] = pixelClasses?.text
    metadata["resize"] = resize.map { "\($0)" }
    return metadata
  }

  /// The file of the model in a folder, or the path itself where that is a file.
  package static func path(of folder: String) -> String {
    var isFolder: ObjCBool = false
    let isThere = FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder)
    return isThere && !isFolder.boolValue ? folder : folder + "/" + name
  }

  /// Reads the model in a folder, or the model file itself where that is named.
  ///
  /// - Throws: `ABNError(.file)` for a folder without a model, or with a file that is none.
  public static func read(folder: String) throws -> ModelFile {
    let path = path(of: folder)
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
    let stated = ModelMetadata(path: path, texts: metadata)
    if format.major >= 2 { _ = try stated.field(Safetensors.checksumKey) { $0 } }
    let options = ModelOptions(
      classes: try stated.field("classes") {
        Int($0).flatMap { (1...1 << 20).contains($0) ? $0 : nil }
      },
      norm: try stated.field("norm") { NormStyle(rawValue: $0) },
      activation: try Activation(
        named: stated.field("activation") { $0 },
        alpha: stated.field("alpha") { Double($0).flatMap { $0.isFinite ? $0 : nil } }))
    let image = Shape(
      try stated.field("image") { text -> [Int]? in
        let words = text.split(separator: "x", omittingEmptySubsequences: false)
        let sizes = words.compactMap { Int($0) }
        let isPlausible = sizes.allSatisfy { (1...1 << 16).contains($0) }
        return words.count == 3 && sizes.count == 3 && isPlausible ? sizes : nil
      })
    let pixels = try stated.pixels()
    var file = ModelFile(
      parameters: tensors, model: try Model.named(stated.field("model") { $0 }), options: options,
      image: image, normalization: pixels.normalization, data: metadata["data"])
    file.white = pixels.white
    file.classNames = try stated.classNames(count: options.classes)
    file.pixelClasses = try stated.optional("mask_classes") { text -> PixelClasses? in
      PixelClasses(text: text).flatMap { $0.count == options.classes ? $0 : nil }
    }
    file.resize = try stated.resize()
    if file.resize != nil { try file.rule.geometry.validate() }
    return file
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
