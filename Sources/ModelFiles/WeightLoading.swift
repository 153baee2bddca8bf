import ABNActivations
import ABNFormats
import ABNGraph
import ABNModels
import ABNRuntime
import ABNTensors

/// How a file of weights is put into a network: format, names and prefix are found in the file.
package struct WeightLoading: Sendable {
  /// The file: safetensors, PyTorch's (also the older one), `.pdparams`, `.npz`, by its contents;
  /// or a model's folder.
  package var path: String
  /// Whose names the tensors have; nil: those that fit best.
  package var names: WeightNames?
  /// Whether weights of a network with another activation are taken: they give other results until
  /// the network has been trained on.
  package var allowsOtherActivation = false
  /// Whether any number of tensors may be missing or additional. Else parameters that the file does
  /// not have are an error from a quarter of the model's on, and so are tensors that the model does
  /// not have: it is another network's file.
  package var allowsPartial = false
  /// Whether the last layer begins afresh where the file has another number of classes; else that
  /// is an error.
  package var replacesHead = true

  /// A file, taken as it is found.
  package init(_ path: String) { self.path = path }

  /// Puts the file's values into a scope whose startup program has run; what the file does not have
  /// keeps the values it has. The scope stays as it was where an error is thrown.
  ///
  /// - Parameters:
  ///   - program: the model's, for training or evaluation, as `ClassifierPrograms` builds it.
  ///   - options: what the model was built with.
  /// - Throws: as `values`.
  package func load(
    into scope: Scope, program: Program, model: Model, options: ModelOptions
  ) throws -> WeightReport {
    let (values, report) = try values(for: program, model: model, options: options)
    for (name, value) in values { scope[name] = value }
    return report
  }

  /// The file's values by the names of the program's parameters.
  ///
  /// - Throws: `ABNError(.file)` with the byte for a damaged file, `.name` for one of another
  ///   network, `.shape` and `.dtype` for a tensor that does not fit, `.attribute` for weights of a
  ///   network with another activation, `.unsupported` for names that the network does not have or
  ///   an element type that is not read.
  package func values(
    for program: Program, model: Model, options: ModelOptions
  ) throws -> (values: [String: Tensor], report: WeightReport) {
    let file = try WeightsFile(path: Self.file(path))
    let candidates = WeightNaming.all(of: model, options, only: names).compactMap { naming in
      naming.weights(of: program).map { (naming: naming, weights: $0) }
    }
    guard !candidates.isEmpty else {
      throw ABNError(
        .unsupported, "\(names!.rawValue) names", got: "the model \(quoted(model.name))",
        wanted: "names that the network has", fix: "Leave --names out.")
    }
    var best = WeightMatch(candidates[0].naming, candidates[0].weights, in: file.names)
    for candidate in candidates.dropFirst() where best.found < best.weights.count {
      let match = WeightMatch(candidate.naming, candidate.weights, in: file.names)
      // A backbone's file has all of the backbone's: not a part of the whole network's.
      let isWhole = match.found == match.weights.count && match.found == best.found
      if match.found > best.found || (isWhole && match.found > 0) { best = match }
    }
    try requireModel(file.metadata, model, best.naming)
    var report = WeightReport(
      path: path, format: file.format.rawValue, names: best.naming.names.rawValue,
      prefix: best.prefix, parameters: program.parameters.count,
      backbone: best.naming.backbone?.name)
    try count(best, file, &report, model)
    try requireActivation(file.metadata, best, options, &report)

    let wanted = best.weights.filter { best.names.contains($0.name) }
    let tensors = try file.read(wanted.map(\.name))
    let head = Set(best.naming.heads(of: program).map(\.id))
    var values: [String: Tensor] = [:]
    for weight in wanted {
      let tensor = tensors[weight.name]!
      let isHead = head.contains(weight.variable.id)
      if let value = try value(tensor, weight, isHead: isHead, &report) {
        values[weight.variable.name] = weight.parameter(value)
      }
    }
    // The layer as a whole: a new matrix beside an old bias would be of no use.
    if !report.replacedHead.isEmpty {
      for parameter in program.parameters where head.contains(parameter.id) {
        values[parameter.name] = nil
      }
      let names = Set(best.weights.filter { head.contains($0.variable.id) }.map(\.name))
      report.matched.removeAll { names.contains($0) }
    }
    return (values, report)
  }

  /// What pixels were for the network that the weights are of; nil where the file does not say, or
  /// its pictures had other channels.
  ///
  /// - Throws: `ABNError(.file)` for a damaged file.
  package func statedPixels(channels: Int) throws -> PixelScale? {
    let stated = try metadata()
    guard Self.isOurs(stated.texts), stated.statesPixels else { return nil }
    let pixels = try stated.pixels()
    return pixels.normalization.mean.count == channels ? pixels : nil
  }

  /// What the file says of classes and of the size of pictures, into a model that has no data to
  /// say it.
  func readPictures(into file: inout ModelFile) throws {
    let stated = try metadata()
    guard Self.isOurs(stated.texts) else { return }
    file.classNames = (try? stated.classNames(count: file.options.classes)) ?? []
    guard let resize = try stated.resize(), resize >= max(file.image[1], file.image[2]) else {
      return
    }
    file.resize = resize
  }

  private func metadata() throws -> ModelMetadata {
    let file = Self.file(path)
    return ModelMetadata(path: file, texts: try WeightsFile(path: file).metadata)
  }

  /// The file: of a model's folder the model.
  private static func file(_ path: String) -> String {
    ModelFile.isThere(inFolder: path) ? path + "/" + ModelFile.name : path
  }

  /// A model that this package wrote says which it is.
  private func requireModel(
    _ metadata: [String: String], _ model: Model, _ naming: WeightNaming
  ) throws {
    guard !allowsPartial, Self.isOurs(metadata), let name = metadata["model"],
      name != (naming.backbone?.name ?? model.name)
    else { return }
    throw ABNError(
      .file, what, got: "a \(name)",
      wanted: "the weights of a \(model.name)"
        + (model.backbone.map { ", or of a \($0.name)" } ?? ""),
      fix: "Choose that network, or take what fits: abn weights import --partial.")
  }

  /// Whether metadata are those that this package writes.
  private static func isOurs(_ metadata: [String: String]) -> Bool {
    metadata["model"] != nil && metadata["norm"].flatMap(NormStyle.init) != nil
  }

  private var what: String { "file of weights \(quoted(path))" }

  /// Fills in what is missing and additional.
  private func count(
    _ match: WeightMatch, _ file: WeightsFile, _ report: inout WeightReport, _ model: Model
  ) throws {
    let wanted = Set(match.weights.map(\.name))
    report.missing = match.weights.map(\.name).filter { !match.names.contains($0) }
    for name in file.names where !wanted.contains(name) {
      if WeightNames.ignores(name) || !name.hasPrefix(match.prefix) {
        report.leftAlone += 1
      } else {
        report.additional.append(name)
      }
    }
    if allowsPartial, match.found > 0 { return }
    let most = match.weights.count / 4
    if report.missing.count > most || match.found == 0 {
      let first = report.missing[0]
      throw ABNError(
        .name, what, got: "no \(quoted(first))\(Self.more(report.missing.count))",
        wanted: "the \(wanted.count) tensors of \(model.name)"
          + (names.map { " under the names of \($0.rawValue)" } ?? ""),
        fix: nearestMatch(to: first, in: file.names).map { "The file has \(quoted($0))." }
          ?? "The file has \(Self.list(file.names)). Is it another network's? See --model"
          + (names == nil ? "." : " and --names."))
    }
    guard report.additional.count <= most else {
      throw ABNError(
        .name, what, got: "\(quoted(report.additional[0]))\(Self.more(report.additional.count))",
        wanted: "the \(wanted.count) tensors of \(model.name), and few others",
        fix: "Is it another network's? abn weights import --partial takes what fits.")
    }
  }

  private static func more(_ count: Int) -> String {
    count == 1 ? "" : " and \(count - 1) more"
  }

  private static func list(_ names: [String]) -> String {
    if names.isEmpty { return "no tensors" }
    return names.prefix(3).map { quoted($0) }.joined(separator: ", ")
      + (names.count > 3 ? ", ..." : "")
  }

  /// Weights mean nothing under another activation than they were trained with.
  private func requireActivation(
    _ metadata: [String: String], _ match: WeightMatch, _ options: ModelOptions,
    _ report: inout WeightReport
  ) throws {
    let stated = try metadata["activation"].flatMap { name in
      try Self.isOurs(metadata)
        ? Activation(named: name, alpha: metadata["alpha"].flatMap(Double.init)) : nil
    }
    guard let activation = stated ?? match.naming.activation, activation != options.activation
    else { return }
    if allowsOtherActivation {
      report.adaptedFrom = activation.description
      return
    }
    let origin =
      stated == nil
      ? "\(match.naming.names.rawValue)'s names, whose networks have \(activation)"
      : "weights of a network with \(activation)"
    throw ABNError(
      .attribute, what, got: origin,
      wanted: "weights of a network with \(options.activation), as this one is built",
      fix: "Build it with --activation \(activation.name), or take them all the same, to train on, "
        + "with --adapt.")
  }

  /// The value for a parameter; nil where the last layer begins afresh.
  private func value(
    _ tensor: Tensor, _ weight: NamedWeight, isHead: Bool, _ report: inout WeightReport
  ) throws -> Tensor? {
    let what = "\(what): \(quoted(weight.name))"
    guard tensor.shape == weight.shape else {
      // The class is the axis of outputs: the first in a file as PyTorch has it, and of a bias.
      let axis = weight.shape.rank == 2 && !weight.isTransposed ? 1 : 0
      var others = (tensor.shape.dimensions, weight.shape.dimensions)
      let isOtherCount = isHead && others.0.count == others.1.count && !others.0.isEmpty
      if isOtherCount {
        others.0[axis] = 0
        others.1[axis] = 0
      }
      if isOtherCount, others.0 == others.1, replacesHead {
        report.replacedHead.append(
          .init(
            name: weight.name, shape: tensor.shape.dimensions, wanted: weight.shape.dimensions))
        return nil
      }
      throw ABNError(
        .shape, what, got: "\(tensor.shape)", wanted: "\(weight.shape)",
        fix: isOtherCount
          ? "With another number of classes, say so (--classes)." : "Is it another network's file?")
    }
    guard let value = tensor.widened(to: weight.variable.dtype) else {
      throw ABNError(
        .dtype, what, got: "\(tensor.dtype)",
        wanted: "\(weight.variable.dtype), or a type whose values it holds",
        fix: "Convert it before it is saved.")
    }
    if tensor.dtype != value.dtype {
      report.widened.append(.init(name: weight.name, from: tensor.dtype.rawValue))
    }
    report.matched.append(weight.name)
    return value
  }
}

/// The tensors of a file that a network's parameters find under one program's names.
struct WeightMatch {
  let naming: WeightNaming
  /// What stands before the names: empty, or `module.`
  let prefix: String
  /// The parameters, with their names in the file.
  let weights: [NamedWeight]
  /// Those names among them that the file has.
  let names: Set<String>
  var found: Int { names.count }

  /// The prefix, and the name of the last layer, with which the most are found; the first in the
  /// file of equals.
  init(_ naming: WeightNaming, _ base: [NamedWeight], in file: [String]) {
    self.naming = naming
    let all = Set(file)
    // The first parameters of a network are there in every file of its weights.
    let probes = Set(base.prefix(3).map(\.name))
    var prefixes = [""]
    let mostPrefixes = 64
    for name in file where prefixes.count < mostPrefixes {
      var rest = Substring(name)
      // A probe has few parts: the tail of the name is compared, part by part.
      while let dot = rest.firstIndex(of: ".") {
        rest = rest[rest.index(after: dot)...]
        guard probes.contains(String(rest)) else { continue }
        let prefix = String(name.dropLast(rest.count))
        if !prefixes.contains(prefix) { prefixes.append(prefix) }
        break
      }
    }
    let head = naming.layers?.last
    var best: (found: Int, prefix: String, head: String?) = (-1, "", head)
    for prefix in prefixes {
      for other in [head] + naming.heads.map(Optional.some) {
        let found = base.count {
          all.contains(prefix + Self.renamed($0.name, head, other))
        }
        if found > best.found { best = (found, prefix, other) }
      }
    }
    prefix = best.prefix
    weights = base.map {
      var weight = $0
      weight.name = best.prefix + Self.renamed($0.name, head, best.head)
      return weight
    }
    names = all.intersection(weights.map(\.name))
  }

  /// The name with the last layer called otherwise.
  private static func renamed(_ name: String, _ head: String?, _ other: String?) -> String {
    guard let head, let other, head != other, name.hasPrefix(head + ".") else { return name }
    return other + name.dropFirst(head.count)
  }
}
