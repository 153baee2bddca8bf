import ABNGraph
import ABNLayers
import ABNTensors

/// A column of table 1 of "Deep Residual Learning" with the full pre-activation of He, Zhang, Ren,
/// Sun, "Identity Mappings in Deep Residual Networks" (ECCV 2016, arXiv 1603.05027), figure 4 (e):
/// normalization and activation before each convolution, nothing after the sum, and one more
/// normalization at the end.
///
/// As the paper's appendix says, the first activation stands right after the first convolution,
/// before the paths split, and projections read what is activated. The 3 x 3 of a bottleneck halves
/// the image.
struct ResNetV2: Sendable {
  /// Blocks in conv2_x, conv3_x, conv4_x, conv5_x.
  let blocks: [Int]
  /// 1 x 1, 3 x 3, 1 x 1 with four times the channels; else two 3 x 3.
  var isBottleneck = true
  /// The width of conv2_x; each later stage is twice as wide.
  var width = 64

  /// The network under a name.
  func model(_ name: String, _ summary: String) -> Model {
    Model(name: name, summary: summary, image: [3, 224, 224], classes: 1000) { images, options in
      var x = try options.convNorm(images, width, 7, stride: 2)
      x = try pool2d(x, poolSize: 3, poolStride: 2, poolPadding: 1)
      for (stage, count) in blocks.enumerated() {
        for index in 0..<count {
          x = try block(
            x, width << stage, stride: stage > 0 && index == 0 ? 2 : 1,
            isActivated: stage == 0 && index == 0, options)
        }
      }
      return try options.classified(options.normalized(x))
    }
  }

  private func block(
    _ x: Variable, _ width: Int, stride: Int, isActivated: Bool, _ options: ModelOptions
  ) throws -> Variable {
    let outputs = isBottleneck ? 4 * width : width
    let input = isActivated ? x : try options.normalized(x)
    let shortcut =
      x.shape[1] == outputs && stride == 1 ? x : try conv(input, outputs, 1, stride: stride)
    var y: Variable
    if isBottleneck {
      y = try options.convNorm(input, width, 1)
      y = try options.convNorm(y, width, 3, stride: stride)
      y = try conv(y, outputs, 1)
    } else {
      y = try options.convNorm(input, width, 3, stride: stride)
      y = try conv(y, width, 3)
    }
    return try elementwiseAdd(y, shortcut)
  }
}

extension Model {
  /// ResNet-18 with pre-activation. See `ResNetV2`.
  public static let resnet18v2 = ResNetV2(blocks: [2, 2, 2, 2], isBottleneck: false)
    .model("resnet18v2", "ResNet-18 with normalization before each convolution")
  /// ResNet-34 with pre-activation.
  public static let resnet34v2 = ResNetV2(blocks: [3, 4, 6, 3], isBottleneck: false)
    .model("resnet34v2", "ResNet-34 with normalization before each convolution")
  /// ResNet-50 with pre-activation.
  public static let resnet50v2 = ResNetV2(blocks: [3, 4, 6, 3])
    .model("resnet50v2", "ResNet-50 with normalization before each convolution")
  /// ResNet-101 with pre-activation.
  public static let resnet101v2 = ResNetV2(blocks: [3, 4, 23, 3])
    .model("resnet101v2", "ResNet-101 with normalization before each convolution")
  /// ResNet-152 with pre-activation.
  public static let resnet152v2 = ResNetV2(blocks: [3, 8, 36, 3])
    .model("resnet152v2", "ResNet-152 with normalization before each convolution")
}
