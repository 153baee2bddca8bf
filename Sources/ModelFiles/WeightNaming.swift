import ABNActivations
import ABNGraph
import ABNModels
import ABNTensors

/// What one program of the field calls the tensors of a network.
struct WeightNaming {
  /// Which program's names these are.
  let names: WeightNames
  /// The layers that have parameters, in the order in which the model makes them; nil: the
  /// parameters have the program's own names.
  var layers: [String]?
  /// The last layer's other names.
  var heads: [String] = []
  /// What follows a normalization's name: of scale, bias, moving mean, moving variance.
  var statistics = ["weight", "bias", "running_mean", "running_var"]
  /// Whether the matrices of connected layers are [outputs, inputs].
  var isTransposed = true
  /// The activation that networks of these names have; nil: not known.
  var activation: Activation?
  /// The prefixes of the program's layers that stand for one another in such a file: a network may
  /// have been built with the other style of normalization.
  var exchange: (from: String, to: String)?
  /// Whether the scale of a normalization is |w| + 1e-5 of the number w in the file.
  var isScaleAbsolute = false
  /// The layers of an auxiliary head, which a program may have behind the others.
  var auxiliaryLayers: [String] = []
  /// Where the file is of a segmentation network's backbone, a classifier: that network, whose
  /// first layers alone are named.
  var backbone: Backbone?

  /// Every naming that a file of this model's weights may have, the likeliest first.
  ///
  /// - Parameter wanted: nil: all; else only those of this program.
  static func all(of model: Model, _ options: ModelOptions, only wanted: WeightNames?) -> [Self] {
    var found = own(of: model, options)
    // What is not among the first layers of both is no part of the backbone.
    if let backbone = model.backbone, let classifier = backbone.model {
      found += own(of: classifier, options).map { naming in
        var naming = naming
        naming.layers = naming.layers.map { Array($0.prefix(backbone.layerCount)) }
        naming.heads = []
        naming.backbone = backbone
        return naming
      }
    }
    return wanted.map { wanted in found.filter { $0.names == wanted } } ?? found
  }

  /// The namings of a network as a whole.
  private static func own(of model: Model, _ options: ModelOptions) -> [Self] {
    let layers = [NormStyle.inplace: "inplace_abn_", .standard: "batch_norm_"]
    let (own, other) = (
      layers[options.norm]!, layers[options.norm == .inplace ? .standard : .inplace]!
    )
    var found = [
      WeightNaming(names: .abn, layers: nil),
      WeightNaming(names: .abn, layers: nil, exchange: (from: own, to: other)),
    ]
    if let layers = model.torchNames { found += torch(model, layers) }
    if let layers = model.originalNames ?? model.torchNames.flatMap({ original(model, $0) }) {
      found.append(
        WeightNaming(
          names: .original, layers: layers, heads: ["fc", "classifier"],
          activation: .leakyReLU(slope: ModelOptions.usualSlope),
          isScaleAbsolute: options.norm == .inplace))
    }
    return found
  }

  /// The namings of a network that torchvision, or its usual PyTorch program, has.
  private static func torch(_ model: Model, _ layers: [String]) -> [Self] {
    let activation: Activation = model.name == "mobilenetv2" ? .relu6 : .relu
    let heads = [
      "fc", "linear", "classifier", "head", "head.fc", "last_linear", "output", "classifier.1",
      "classifier.fc",
    ]
    let auxiliary = model.auxiliaryHead?.torchNames ?? []
    var found = [
      WeightNaming(
        names: .torch, layers: layers, heads: heads, activation: activation,
        auxiliaryLayers: auxiliary),
      WeightNaming(
        names: .paddle, layers: layers, heads: heads,
        statistics: ["weight", "bias", "_mean", "_variance"], isTransposed: false,
        activation: activation, auxiliaryLayers: auxiliary),
    ]
    if let timm = timm(model, layers) {
      found.append(
        WeightNaming(names: .timm, layers: timm, heads: heads, activation: activation))
    }
    if model.name.hasPrefix("cifar-") {
      found.append(
        WeightNaming(
          names: .cifar, layers: layers.map(cifar), heads: heads + ["linear"],
          activation: activation))
    }
    return found
  }

  /// timm's names of a network whose names in torchvision are others.
  ///
  /// Source: timm, `_efficientnet_blocks.py`: `DepthwiseSeparableConv`, `InvertedResidual`.
  private static func timm(_ model: Model, _ layers: [String]) -> [String]? {
    guard model.name == "mobilenetv2" else { return nil }
    // Where the 17 blocks stand: the stage, and the number in it.
    let blocks = [1, 2, 3, 4, 3, 3, 1].enumerated().flatMap { stage, count in
      (0..<count).map { "blocks.\(stage).\($0)" }
    }
    let first = ["conv.0.0": "conv_dw", "conv.0.1": "bn1", "conv.1": "conv_pw", "conv.2": "bn2"]
    let later = [
      "conv.0.0": "conv_pw", "conv.0.1": "bn1", "conv.1.0": "conv_dw", "conv.1.1": "bn2",
      "conv.2": "conv_pwl", "conv.3": "bn3",
    ]
    let ends = [
      "features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head",
      "features.18.1": "bn2", "classifier.1": "classifier",
    ]
    return layers.map { layer in
      if let end = ends[layer] { return end }
      let parts = layer.split(separator: ".", maxSplits: 2).map(String.init)
      let number = Int(parts[1])!
      return blocks[number - 1] + "." + (number == 1 ? first : later)[parts[2]]!
    }
  }

  /// The names of a layer of CIFAR's ResNets in "ResNeXt-DenseNet" of D-X-Y, which many have taken
  /// over: `stage_1.0.conv_a`.
  private static func cifar(_ layer: String) -> String {
    let ends = ["conv1": "conv_1_3x3", "bn1": "bn_1", "linear": "classifier"]
    if let end = ends[layer] { return end }
    return layer.replacing("layer", with: "stage_").replacing("conv1", with: "conv_a")
      .replacing("conv2", with: "conv_b").replacing("bn1", with: "bn_a")
      .replacing("bn2", with: "bn_b")
  }

  /// The names of "In-Place Activated BatchNorm"'s own ResNets: `mod2.block1.convs.conv1`.
  ///
  /// Source: mapillary/inplace_abn, `scripts/models/resnet.py`, `scripts/modules/residual.py`.
  private static func original(_ model: Model, _ layers: [String]) -> [String]? {
    guard ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"].contains(model.name) else {
      return nil
    }
    return layers.map { layer in
      let parts = layer.split(separator: ".").map(String.init)
      if parts == ["fc"] { return "classifier.fc" }
      guard parts.count > 1, let module = Int(parts[0].dropFirst("layer".count)),
        let block = Int(parts[1])
      else { return "mod1.\(layer)" }
      let place = "mod\(module + 1).block\(block + 1)"
      return switch parts[2...].joined(separator: ".") {
      case "downsample.0": "\(place).proj_conv"
      case "downsample.1": "\(place).proj_bn"
      case let inner: "\(place).convs.\(inner)"
      }
    }
  }

  /// The parameters of a model's program under these names, in the order in which its layers made
  /// them, of a backbone the first ones; nil where the program has others, the slopes of prelu,
  /// say.
  func weights(of program: Program) -> [NamedWeight]? {
    var groups = Self.layers(of: program.parameters)
    if let backbone {
      // With a slope for each normalization the layers are not those of the names.
      guard groups.count > backbone.layerCount else { return nil }
      groups.removeLast(groups.count - backbone.layerCount)
    }
    let parameters = groups.flatMap { $0 }
    guard let layers else {
      return parameters.map { parameter in
        var name = parameter.name
        if let exchange, name.hasPrefix(exchange.from) {
          name = exchange.to + name.dropFirst(exchange.from.count)
        }
        return NamedWeight(variable: parameter, name: name)
      }
    }
    let names = groups.count == layers.count ? layers : layers + auxiliaryLayers
    guard groups.count == names.count else { return nil }
    var weights: [NamedWeight] = []
    for (layer, group) in zip(names, groups) {
      // A convolution has one parameter or two, a connected layer two, a normalization four.
      let isNormalization = group[0].shape.rank == 1
      let suffixes = isNormalization ? statistics : ["weight", "bias"]
      guard isNormalization ? group.count == suffixes.count : group.count <= suffixes.count else {
        return nil
      }
      for (position, (suffix, variable)) in zip(suffixes, group).enumerated() {
        weights.append(
          NamedWeight(
            variable: variable, name: "\(layer).\(suffix)",
            isTransposed: isTransposed && variable.shape.rank == 2,
            isScaleAbsolute: isScaleAbsolute && isNormalization && position == 0))
      }
    }
    return weights
  }

  /// The parameters of the last layer, and of that of an auxiliary head: of as many outputs as
  /// there are classes.
  func heads(of program: Program) -> [Variable] {
    let groups = Self.layers(of: program.parameters)
    let hasAuxiliary =
      layers.map { groups.count == $0.count + auxiliaryLayers.count } ?? false
    return (groups.last ?? [])
      + (hasAuxiliary && !auxiliaryLayers.isEmpty ? groups[layers!.count - 1] : [])
  }

  /// A layer's parameters stand beside one another and begin with its name.
  static func layers(of parameters: [Variable]) -> [[Variable]] {
    var groups: [[Variable]] = []
    var last: Substring?
    for parameter in parameters {
      let layer = parameter.name.lastIndex(of: ".").map { parameter.name[..<$0] }
      if layer == nil || layer != last { groups.append([]) }
      groups[groups.count - 1].append(parameter)
      last = layer
    }
    return groups
  }
}
