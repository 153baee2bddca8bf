import ABNData
import ABNFormats
import ABNGraph
import ABNModels
import ABNRuntime
import ABNTensors

/// Files of weights: `.safetensors`, or numpy's `.npz`.
private enum WeightFile: String, CaseIterable {
  case safetensors, npz

  init(_ path: String) throws {
    let ending = path.split(separator: "/").last?.split(separator: ".").dropFirst().last ?? ""
    guard let found = WeightFile(rawValue: String(ending)) else {
      throw ABNError(
        .file, "file of weights \(quoted(path))", got: ending.isEmpty ? "no ending" : ".\(ending)",
        wanted: Self.allCases.map { "." + $0.rawValue }.joined(separator: " or "))
    }
    self = found
  }

  /// The tensors of a file but those that nobody asks for.
  func read(_ path: String, without isIgnored: (String) -> Bool) throws -> [String: Tensor] {
    switch self {
    case .safetensors:
      let names = try Safetensors.names(path: path).names
      return try Safetensors.read(path: path, only: Self.wanted(names, isIgnored)).tensors
    case .npz: return try NPZ.read(path, only: Self.wanted(NPZ.names(path), isIgnored))
    }
  }

  /// Nil: all of them, so that a checksum of the whole is looked at.
  private static func wanted(_ names: [String], _ isIgnored: (String) -> Bool) -> [String]? {
    names.contains(where: isIgnored) ? names.filter { !isIgnored($0) } : nil
  }

  func write(_ tensors: [String: Tensor], to path: String) throws {
    switch self {
    case .safetensors: try Safetensors.write(tensors, to: path)
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
    let programs = try ClassifierPrograms(model, options: options, image: image, seed: seed)
    let scope = Scope()
    try Executor(backend: backend).run(programs.startup, scope: scope)
    self.init(
      parameters: programs.evaluation.parameters.reduce(into: [:]) { $0[$1.name] = scope[$1.name] },
      model: model, options: options, image: image,
      normalization: try normalization ?? .identity(channels: image[0]), data: data)
  }

  /// A model with the weights of a file, bit by bit; those in float16, bfloat16 or floats of 8 bits
  /// become the same numbers in float32.
  ///
  /// - Parameters:
  ///   - path: `.safetensors` or `.npz`, with a tensor for each parameter and nothing else (PyTorch's
  ///     counters of steps are left alone, of whatever type).
  ///   - image: [C, H, W].
  ///   - normalization: of the stored bytes of pixels; nil: none, mean 0 and deviation 1.
  ///   - data: what the model is evaluated on where nothing else is asked for.
  /// - Throws: `ABNError(.name)` for a name that is missing or too many, `.shape` and `.dtype` for a
  ///   tensor of another type, `.unsupported` for names that the network does not have.
  package init(
    weights path: String, names: WeightNames, model: Model, options: ModelOptions, image: Shape,
    normalization: ChannelNormalization? = nil, data: String? = nil
  ) throws {
    let file = try WeightFile(path)
    let program = try ClassifierPrograms(model, options: options, image: image, seed: 0).evaluation
    let weights = try NamedWeight.all(of: model, program, names)
    let tensors = try file.read(path) { names.ignores($0) }
    try Self.checkNames(weights.map(\.name), found: Array(tensors.keys), path, names, model)
    var parameters: [String: Tensor] = [:]
    for weight in weights {
      let tensor = tensors[weight.name]!
      let what = "file of weights \(quoted(path)): \(quoted(weight.name))"
      guard tensor.shape == weight.shape else {
        // The last layer makes the logits, from a matrix or a convolution, and a bias.
        let isLast = program.parameters.suffix(2).contains { $0.id == weight.variable.id }
        throw ABNError(
          .shape, what, got: "\(tensor.shape)", wanted: "\(weight.shape)",
          fix: isLast && tensor.shape.rank == weight.shape.rank
            ? "With another number of classes, say so (--classes)." : "")
      }
      guard let value = tensor.widened(to: weight.variable.dtype) else {
        throw ABNError(
          .dtype, what, got: "\(tensor.dtype)",
          wanted: "\(weight.variable.dtype), or a type whose values it holds",
          fix: "Convert it before it is saved.")
      }
      parameters[weight.variable.name] = weight.isTransposed ? value.transposed : value
    }
    self.init(
      parameters: parameters, model: model, options: options, image: image,
      normalization: try normalization ?? .identity(channels: image[0]), data: data)
  }

  private static func checkNames(
    _ wanted: [String], found: [String], _ path: String, _ names: WeightNames, _ model: Model
  ) throws {
    let missing = Set(wanted).subtracting(found)
    let extra = Set(found).subtracting(wanted).sorted()
    guard let first = wanted.first(where: missing.contains) ?? extra.first else { return }
    let what = "file of weights \(quoted(path))"
    if missing.isEmpty {
      throw ABNError(
        .name, what, got: "\(quoted(first))\(more(extra.count))",
        wanted: "only the \(wanted.count) tensors of \(model.name)",
        fix: "Is it another network's?")
    }
    throw ABNError(
      .name, what, got: "no \(quoted(first))\(more(missing.count))",
      wanted: "the \(wanted.count) tensors of \(model.name) under the names of \(names.rawValue)",
      fix: nearestMatch(to: first, in: extra).map { "The file has \(quoted($0))." }
        ?? "The file has \(extra.isEmpty ? "no others" : list(extra)). "
        + "See --names, --model and --norm.")
  }

  private static func more(_ count: Int) -> String {
    count == 1 ? "" : " and \(count - 1) more"
  }

  private static func list(_ names: [String]) -> String {
    names.prefix(3).map { quoted($0) }.joined(separator: ", ") + (names.count > 3 ? ", ..." : "")
  }

  /// Writes the weights, bit by bit, to `.safetensors` or `.npz`.
  ///
  /// - Parameter folder: what the model was read from, for errors.
  /// - Throws: `ABNError(.unsupported)` for names that the network does not have, `.file` for a file
  ///   with another ending or that cannot be written, or a model that lacks parameters.
  package func exportWeights(to path: String, names: WeightNames, folder: String) throws {
    let file = try WeightFile(path)
    let programs = try ClassifierPrograms(model, options: options, image: image, seed: 0)
    let weights = try NamedWeight.all(of: model, programs.evaluation, names)
    let values = try values(for: programs.evaluation, folder: folder)
    var tensors: [String: Tensor] = [:]
    for weight in weights {
      let tensor = values[weight.variable.name]!
      tensors[weight.name] = weight.isTransposed ? tensor.transposed : tensor
    }
    TemporaryFiles.removeAbandoned(in: Folder.parent(of: path))
    try file.write(tensors, to: path)
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
