import ABNGraph
import ABNLayers
import ABNTensors

/// The networks for CIFAR-10 of He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition"
/// (CVPR 2016, arXiv 1512.03385), section 4.2: a 3 x 3 convolution of 16 channels, then three
/// stages of n blocks of two 3 x 3 convolutions with 16, 32 and 64 channels: 6 n + 2 layers.
///
/// No shortcut has parameters (option A): where a stage halves the image, the shortcut takes every
/// other pixel of every other row, and channels of zeros stand before and after its own, as many on
/// each side, as in the weights that others publish.
///
/// `Model.resnet20` is the same network with 1 x 1 convolutions for shortcuts (option B).
struct CIFARResNet: Sendable {
  /// n, the blocks in a stage.
  let blocks: Int
  /// The channels of the first stage; each later one is twice as wide.
  var width = 16

  /// The network under a name.
  func model(_ name: String) -> Model {
    Model(
      name: name,
      summary:
        "residual network of \(6 * blocks + 2) layers for CIFAR, shortcuts without parameters",
      image: [3, 32, 32], classes: 10, torchNames: torchNames
    ) { images, options in
      var x = try options.convNorm(images, width, 3)
      for stage in 0..<3 {
        for index in 0..<blocks {
          x = try block(x, width << stage, stride: stage > 0 && index == 0 ? 2 : 1, options)
        }
      }
      return try options.classified(x)
    }
  }

  private func block(
    _ x: Variable, _ filters: Int, stride: Int, _ options: ModelOptions
  ) throws -> Variable {
    var y = try options.convNorm(x, filters, 3, stride: stride)
    y = try options.convNorm(y, filters, 3, act: .identity)
    return try options.activated(
      elementwiseAdd(y, shortcut(x, filters, stride: stride)))
  }

  /// From x [N, C, H, W] to [N, filters, H / stride, W / stride], odd sizes rounded up.
  private func shortcut(_ x: Variable, _ filters: Int, stride: Int) throws -> Variable {
    if stride == 1 { return x }
    let few = try pool2d(x, poolSize: 1, poolType: .average, poolStride: stride)
    let added = filters - x.shape[1]
    return try pad(few, [0, 0, added / 2, added - added / 2, 0, 0, 0, 0])
  }

  /// What published weights call the layers, in the order in which `model` makes them.
  private var torchNames: [String] {
    let layers = (1...3).flatMap { stage in
      (0..<blocks).flatMap { index in
        ["conv1", "bn1", "conv2", "bn2"].map { "layer\(stage).\(index).\($0)" }
      }
    }
    return ["conv1", "bn1"] + layers + ["linear"]
  }
}

extension Model {
  /// ResNet-20 for CIFAR: 269,722 parameters. See `CIFARResNet`.
  package static let cifarResNet20 = CIFARResNet(blocks: 3).model("cifar-resnet20")
  /// ResNet-32 for CIFAR: 464,154 parameters.
  package static let cifarResNet32 = CIFARResNet(blocks: 5).model("cifar-resnet32")
  /// ResNet-44 for CIFAR: 658,586 parameters.
  package static let cifarResNet44 = CIFARResNet(blocks: 7).model("cifar-resnet44")
  /// ResNet-56 for CIFAR: 853,018 parameters.
  package static let cifarResNet56 = CIFARResNet(blocks: 9).model("cifar-resnet56")
  /// ResNet-110 for CIFAR: 1,727,962 parameters.
  package static let cifarResNet110 = CIFARResNet(blocks: 18).model("cifar-resnet110")
}
