import ABNData
import ABNFormats
import ABNGraph
import ABNModels
import ABNRuntime
import ABNTensors

/// Files of weights that are written: `.safetensors`, or numpy's `.npz`.
private enum WrittenFile: String, CaseIterable {
  case safetensors, npz

  init(_ path: String) throws {
    let ending = path.split(separator: "/").last?.split(separator: ".").dropFirst().last ?? ""
    guard let found = WrittenFile(rawValue: String(ending)) else {
      throw ABNError(
        .file, "file of weights \(quoted(path))", got: ending.isEmpty ? "no ending" : ".\(ending)",
        wanted: Self.allCases.map { "." + $0.rawValue }.joined(separator: " or "))
    }
    self = found
  }

  func write(_ tensors: [String: Tensor], metadata: [String: String], to path: String) throws {
    switch self {
    case .safetensors: try Safetensors.write(tensors, metadata: metadata, to: path)
    case .npz: try NPZ.write(tensors, to: path)
    }
  }
}

extension ModelFile {
  /// A model with the first values that training begins with.
  ///
  /// - Parameters:
  ///   - image: [C, H, W].
  ///   - backend: draws them.
  public init(
    firstValuesOf model: Model, options: ModelOptions, image: Shape, seed: UInt64,
    normalization: ChannelNormalization? = nil, data: String? = nil, backend: any Backend
  ) throws {
    try self.init(
      firstValuesOf: model, options: options, image: image, seed: seed,
      normalization: normalization, data: data, dataset: nil, backend: backend)
  }

  /// The same, of data that say what their classes are called.
  package init(
    firstValuesOf model: Model, options: ModelOptions, image: Shape, seed: UInt64,
    normalization: ChannelNormalization?, data: String?, dataset: Dataset?, backend: any Backend
  ) throws {
    let programs = try ClassifierPrograms(model, options: options, image: image, seed: seed)
    let scope = Scope()
    try Executor(backend: backend).run(programs.startup, scope: scope)
    self.init(
      parameters: programs.evaluation.parameters.reduce(into: [:]) { $0[$1.name] = scope[$1.name] },
      model: model, options: options, image: image,
      normalization: try normalization ?? .identity(channels: image[0]), data: data,
      dataset: dataset)
  }

  /// A model with the weights of a file, bit by bit; those in float16, bfloat16 or floats of 8 bits
  /// become the same numbers in float32.
  ///
  /// - Parameters:
  ///   - weights: the file, and what is taken of it.
  ///   - image: [C, H, W].
  ///   - normalization: of the stored bytes of pixels; nil: what the file says or, where it does
  ///     not, that of the data, and without data none: mean 0 and deviation 1.
  ///   - data: what the model is evaluated on where nothing else is asked for.
  ///   - backend: draws the values that the file does not have; nil: it must have all of them.
  /// - Returns: the model, and what became of the file's tensors.
  /// - Throws: as `WeightLoading.values`; `ABNError(.name)` for tensors that are missing where
  ///   there is no backend.
  package static func imported(
    _ weights: WeightLoading, model: Model, options: ModelOptions, image: Shape,
    normalization: ChannelNormalization? = nil, data: String? = nil, dataset: Dataset? = nil,
    backend: (any Backend)? = nil
  ) throws -> (file: ModelFile, report: WeightReport) {
    let programs = try ClassifierPrograms(model, options: options, image: image, seed: 0)
    var (parameters, report) = try weights.values(
      for: programs.evaluation, model: model, options: options)
    let absent = programs.evaluation.parameters.filter { parameters[$0.name] == nil }
    if !absent.isEmpty {
      guard let backend else {
        throw ABNError(
          .name, "file of weights \(quoted(weights.path))",
          got: "no \(quoted(report.missing.first ?? absent[0].name))"
            + (absent.count == 1 ? "" : " and \(absent.count - 1) more"),
          wanted: "the \(report.parameters) tensors of \(model.name)",
          fix: report.missing.first.flatMap { nearestMatch(to: $0, in: report.additional) }
            .map { "The file has \(quoted($0))." } ?? "With --partial the others begin afresh.")
      }
      let scope = Scope()
      try Executor(backend: backend).run(programs.startup, scope: scope)
      for parameter in absent { parameters[parameter.name] = scope[parameter.name] }
    }
    let stated = try weights.statedPixels(channels: image[0])
    let white = dataset?.white ?? (normalization == nil ? stated?.white : nil) ?? 255
    var file = ModelFile(
      parameters: parameters, model: model, options: options, image: image,
      normalization: try normalization ?? stated?.at(white: white).normalization
        ?? dataset?.normalization ?? .identity(channels: image[0]), data: data, dataset: dataset)
    file.white = white
    if dataset == nil { try weights.readPictures(into: &file) }
    return (file, report)
  }

  /// Writes the weights, bit by bit, to `.safetensors` or `.npz`.
  ///
  /// - Parameter folder: what the model was read from, for errors.
  /// - Throws: `ABNError(.unsupported)` for names that the network does not have, `.file` for a
  ///   file with another ending or that cannot be written, or a model that lacks parameters.
  package func exportWeights(to path: String, names: WeightNames, folder: String) throws {
    let file = try WrittenFile(path)
    let programs = try ClassifierPrograms(model, options: options, image: image, seed: 0)
    let weights = try NamedWeight.all(of: model, programs.evaluation, names)
    let values = try values(for: programs.evaluation, folder: folder)
    var tensors: [String: Tensor] = [:]
    for weight in weights {
      let tensor = values[weight.variable.name]!
      tensors[weight.name] = weight.isTransposed ? tensor.transposed : tensor
    }
    TemporaryFiles.removeAbandoned(in: Folder.parent(of: path))
    // What the weights are of, for whoever imports them. PyTorch's readers ask for "format".
    let kept = [
      "model", "norm", "activation", "alpha", "mean", "deviation", "white", "class_names", "resize",
    ]
    var metadata = metadata.filter { kept.contains($0.key) }
    metadata["format"] = "pt"
    try file.write(tensors, metadata: metadata, to: path)
  }
}

extension ChannelNormalization {
  /// Pixels stay as they are.
  package static func identity(channels: Int) throws -> ChannelNormalization {
    try ChannelNormalization(
      mean: Array(repeating: 0, count: channels),
      standardDeviation: Array(repeating: 1, count: channels))
  }
}
