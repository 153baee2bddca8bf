import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors

/// Which normalization a model is built with.
public enum NormStyle: String, Sendable, Hashable, CaseIterable {
  /// `inplaceABN`: normalization and activation stored over the input.
  case inplace
  /// `batchNorm` and an activation: the pair of layers that frameworks have.
  case standard
}

/// What a model leaves to its user.
public struct ModelOptions: Sendable {
  /// The number of logits.
  public var classes: Int
  /// In place or standard.
  public var norm: NormStyle
  /// The activation after a normalization.
  public var activation: Activation

  /// The slope of leaky_relu with which these models were published.
  public static let usualSlope = 0.01

  /// In-place layers with leaky_relu of a slope of 0.01, unless told otherwise.
  public init(
    classes: Int, norm: NormStyle = .inplace,
    activation: Activation = .leakyReLU(slope: usualSlope)
  ) {
    self.classes = classes
    self.norm = norm
    self.activation = activation
  }

  /// The activation of a name, leaky_relu with the slope with which these models were published.
  ///
  /// - Throws: `ABNError(.attribute)` that names the nearest.
  package static func activation(named name: String) throws -> Activation {
    let found = try Activation(named: name)
    return found == .leakyReLU() ? .leakyReLU(slope: usualSlope) : found
  }

  /// Normalization and activation in the chosen style; `act` nil: the activation of the options.
  public func normalized(
    _ x: Variable, act: Activation? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable {
    let act = act ?? activation
    return switch norm {
    case .inplace: try inplaceABN(x, act: act, file: file, line: line)
    case .standard where act == .prelu:
      try prelu(batchNorm(x, file: file, line: line), file: file, line: line)
    case .standard: try batchNorm(x, act: act, file: file, line: line)
    }
  }
}

/// Which heights and widths a network can take.
public struct ImageSizes: Sendable, Hashable {
  /// They are multiples of this.
  package let multiple: Int
  /// They are at least this.
  package let least: Int

  /// Multiples of `multiple` from `least` on.
  public init(multiple: Int = 1, least: Int = 1) {
    self.multiple = max(1, multiple)
    let (sum, overflow) = max(least, 1).addingReportingOverflow(self.multiple - 1)
    self.least = overflow ? self.multiple : sum / self.multiple * self.multiple
  }

  /// Whether a network can take this height or width.
  package func admits(_ size: Int) -> Bool { size >= least && size % multiple == 0 }

  /// The least height or width that a network can take and that a picture of this one fits into.
  package func padded(_ size: Int) -> Int {
    max(least, (max(size, 1) + multiple - 1) / multiple * multiple)
  }

  /// - Parameter images: [N, C, H, W]; sizes that are not known are not looked at.
  /// - Throws: `ABNError(.shape)` that says which sizes work, and the nearest.
  func check(_ images: Shape, of model: String) throws {
    guard images.rank == 4 else {
      throw ABNError(
        .shape, "images of \(model)", got: "\(images)", wanted: "[N, channels, height, width]")
    }
    let sizes = [images[2], images[3]]
    if sizes.allSatisfy({ $0 == Shape.unknown || admits($0) }) { return }
    func text(_ nearest: (Int) -> Int) -> String {
      sizes.map { "\($0 == Shape.unknown ? $0 : max(least, nearest($0)))" }.joined(separator: " x ")
    }
    let below = text { $0 / multiple * multiple }
    // Not by adding first: a size may be as large as numbers get.
    let above = text { $0 % multiple == 0 ? $0 : ($0 / multiple &+ 1) &* multiple }
    throw ABNError(
      .shape, "images of \(model)", got: sizes.map(String.init).joined(separator: " x "),
      wanted: "a height and a width of at least \(least)"
        + (multiple > 1 ? " that are multiples of \(multiple)" : ""),
      fix: "The nearest that work: " + (below == above ? below : "\(below) and \(above)") + ".")
  }
}

/// A second head on maps in the middle of a segmentation network, for training alone: its loss goes
/// to the early layers by a shorter way.
///
/// Source: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network" (CVPR 2017, arXiv 1612.01105),
/// section 3.3.
package struct AuxiliaryHead: Sendable {
  /// What its loss counts beside that of the logits.
  package static let weight = 0.4
  /// What the PyTorch program calls its layers, in the order in which `build` makes them, which is
  /// behind all of the network's; empty where there is none.
  package let torchNames: [String]
  /// Appends the network, with the parameters that `Model.build` gives it, and this head: two
  /// logits of one shape.
  package let build:
    @Sendable (_ images: Variable, _ options: ModelOptions) throws -> (
      logits: Variable, auxiliary: Variable
    )
}

/// The classification network whose features a segmentation network is built on.
package struct Backbone: Sendable {
  /// Its name among `Model.all`.
  package let name: String
  /// The parameters' layers that both have, which stand first in both; the classifier is not among
  /// them.
  package let layerCount: Int

  /// The model itself.
  package var model: Model? { Model.all.first { $0.name == name } }

  /// All layers of a network but the classifier, by their names.
  init(_ name: String, layers: [String]) {
    self.name = name
    layerCount = layers.count - 1
  }
}

/// A network: a function over layers, from images [N, C, H, W] to logits: [N, classes] where images
/// are classified, [N, classes, H, W] where pixels are.
public struct Model: Sendable {
  /// The name on the command line.
  public let name: String
  /// One line for people.
  public let summary: String
  /// The images it was made for, [C, H, W], where nothing else is asked for.
  public let image: Shape
  /// The classes of the data it was made for.
  public let classes: Int
  /// The heights and widths it can take; `build` checks them.
  public let sizes: ImageSizes
  /// What the network's usual PyTorch program, torchvision's as a rule, calls the layers that have
  /// parameters, in the order in which `build` makes them; nil where there is no such program.
  package let torchNames: [String]?
  /// The same in the repository of "In-Place Activated BatchNorm", where a network has no other
  /// PyTorch program.
  package var originalNames: [String]? {
    name == "wideresnet38" ? WideResNet38().originalNames : nil
  }
  /// The classification network whose features the first layers make; nil: it has none.
  package let backbone: Backbone?
  /// Appends the network to the program that is being built.
  public let build: @Sendable (_ images: Variable, _ options: ModelOptions) throws -> Variable
  /// The same with a second head beside the last layers; nil: it has none. See `AuxiliaryHead`.
  package let auxiliaryHead: AuxiliaryHead?

  /// A network under a name.
  public init(
    name: String, summary: String, image: Shape, classes: Int, sizes: ImageSizes = ImageSizes(),
    torchNames: [String]? = nil,
    build: @escaping @Sendable (_ images: Variable, _ options: ModelOptions) throws -> Variable
  ) {
    self.init(
      name: name, summary: summary, image: image, classes: classes, sizes: sizes,
      torchNames: torchNames, backbone: nil, auxiliaryNames: nil
    ) { images, options, _ in (try build(images, options), nil) }
  }

  /// A segmentation network.
  ///
  /// - Parameters:
  ///   - auxiliaryNames: what the PyTorch program calls the layers of the auxiliary head; nil: the
  ///     network has none; empty: it has no names there.
  ///   - outputs: appends the network, and behind it the auxiliary head where that is asked for,
  ///     and gives both logits.
  package init(
    name: String, summary: String, image: Shape, classes: Int, sizes: ImageSizes = ImageSizes(),
    torchNames: [String]?, backbone: Backbone?, auxiliaryNames: [String]?,
    outputs:
      @escaping @Sendable (
        _ images: Variable, _ options: ModelOptions, _ hasAuxiliaryHead: Bool
      ) throws -> (logits: Variable, auxiliary: Variable?)
  ) {
    self.name = name
    self.summary = summary
    self.image = image
    self.classes = classes
    self.sizes = sizes
    self.torchNames = torchNames
    self.backbone = backbone
    build = { images, options in
      try sizes.check(images.shape, of: name)
      return try outputs(images, options, false).logits
    }
    auxiliaryHead = auxiliaryNames.map { names in
      AuxiliaryHead(torchNames: names) { images, options in
        try sizes.check(images.shape, of: name)
        let (logits, auxiliary) = try outputs(images, options, true)
        return (logits, auxiliary!)
      }
    }
  }

  /// All models of the package.
  public static let all: [Model] =
    [
      mlp, lenet, resnet20, cifarResNet20, cifarResNet32, cifarResNet44, cifarResNet56,
      cifarResNet110, resnet18, resnet34, resnet50, resnet101, resnet152, resnet18v2,
      resnet34v2, resnet50v2, resnet101v2, resnet152v2, resnext50, resnext101, resnext152, vgg16,
      mobilenetv2, densenet121, densenet264, tresnetm, wideresnet38, unet, unetSmall, swiftNetLight,
      swiftNetResNet18, deeplabv3resnet50, deeplabv3resnet101, deeplabv3wideresnet38,
    ] + deepLabV3Plus

  /// The model of this name.
  ///
  /// - Throws: `ABNError(.name)` that names the nearest.
  public static func named(_ name: String) throws -> Model {
    if let found = all.first(where: { $0.name == name }) { return found }
    throw ABNError(unknown: name, "model", names: all.map(\.name))
  }
}
