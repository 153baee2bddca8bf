import ABNGraph
import ABNLayers
import ABNTensors

/// Table 2 of Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear
/// Bottlenecks" (CVPR 2018, arXiv 1801.04381).
///
/// The paper's activation is relu6; a fifth of the last features is dropped in training, as in
/// torchvision's.
struct MobileNetV2: Sendable {
  /// The channels of the first convolution; those of the table in proportion.
  var width = 32
  /// Expansion t, channels c, blocks n, stride s of the first.
  let rows = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
  ]

  /// From images [N, 3, H, W] to logits [N, classes].
  func logits(_ images: Variable, _ options: ModelOptions) throws -> Variable {
    var x = try options.convNorm(images, width, 3, stride: 2)
    for (t, c, n, s) in rows {
      for index in 0..<n {
        x = try block(x, c * width / 32, expansion: t, stride: index == 0 ? s : 1, options)
      }
    }
    x = try options.convNorm(x, 40 * width, 1)
    x = try pool2d(x, poolType: .average, globalPooling: true)
    x = try dropout(x, probability: 0.2, implementation: .upscaleInTrain)
    return try fc(x, size: options.classes)
  }

  /// torchvision's names of the layers, in the order in which `logits` makes them.
  var torchNames: [String] {
    var names = ["features.0.0", "features.0.1"]
    var number = 1
    for (t, _, n, _) in rows {
      for _ in 0..<n {
        let block = "features.\(number).conv"
        let inner = t == 1 ? 1 : 2
        for index in 0..<inner { names += ["\(block).\(index).0", "\(block).\(index).1"] }
        names += ["\(block).\(inner)", "\(block).\(inner + 1)"]
        number += 1
      }
    }
    return names + ["features.\(number).0", "features.\(number).1", "classifier.1"]
  }

  /// Table 1: 1 x 1 to t times the channels, a 3 x 3 of each channel alone, 1 x 1 without
  /// activation.
  private func block(
    _ x: Variable, _ filters: Int, expansion: Int, stride: Int, _ options: ModelOptions
  ) throws -> Variable {
    let inner = x.shape[1] * expansion
    var y = expansion == 1 ? x : try options.convNorm(x, inner, 1)
    y = try options.convNorm(y, inner, 3, stride: stride, groups: inner)
    y = try options.convNorm(y, filters, 1, act: .identity)
    return stride == 1 && x.shape[1] == filters ? try elementwiseAdd(y, x) : y
  }
}

extension Model {
  /// MobileNetV2: 3,504,872 parameters. See `MobileNetV2`.
  public static let mobilenetv2 = Model(
    name: "mobilenetv2", summary: "inverted residual blocks with convolutions of single channels",
    image: [3, 224, 224], classes: 1000, torchNames: MobileNetV2().torchNames
  ) { try MobileNetV2().logits($0, $1) }
}
