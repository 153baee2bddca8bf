import ABNGraph
import ABNLayers
import ABNTensors

/// The head of Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image
/// Segmentation" (2017, arXiv 1706.05587), section 3.3, on maps an eighth as high as the image.
///
/// A 1 x 1 convolution, three 3 x 3 dilated by 12, 24 and 36 (the paper's 6, 12, 18 doubled for
/// maps of this size) and the mean of the image side by side, 256 channels each; then 1 x 1, as in
/// torchvision one 3 x 3, and the logits at the size of the image.
private func deepLabHead(
  _ x: Variable, image: Variable, _ options: ModelOptions
) throws -> Variable {
  var branches = [try options.convNorm(x, 256, 1)]
  for dilation in [12, 24, 36] {
    branches.append(try options.convNorm(x, 256, 3, dilation: dilation))
  }
  let mean = try options.convNorm(
    pool2d(x, poolType: .average, globalPooling: true), 256, 1)
  branches.append(try resizeNearest(mean, outShape: [x.shape[2], x.shape[3]]))
  var y = try options.convNorm(concat(branches, axis: 1), 256, 1)
  y = try options.convNorm(y, 256, 3)
  y = try conv2d(y, numFilters: options.classes, filterSize: 1)
  return try resizeBilinear(
    y, outShape: [image.shape[2], image.shape[3]], alignCorners: false, alignMode: 0)
}

extension Model {
  /// DeepLabV3 on ResNet-50, for the 21 classes of PASCAL VOC: 39,638,869 parameters.
  public static let deeplabv3resnet50 = deepLab(
    "deeplabv3-resnet50", "segmentation: DeepLabV3 on ResNet-50"
  ) { try ResNet(blocks: [3, 4, 6, 3]).features($0, $1, dilated: 2) }

  /// DeepLabV3 on ResNet-101: 58,630,997 parameters.
  public static let deeplabv3resnet101 = deepLab(
    "deeplabv3-resnet101", "segmentation: DeepLabV3 on ResNet-101"
  ) { try ResNet(blocks: [3, 4, 23, 3]).features($0, $1, dilated: 2) }

  /// DeepLabV3 on WideResNet-38, the network of "In-Place Activated BatchNorm", section 4.2, with
  /// the head of Chen et al.: 136,406,101 parameters.
  public static let deeplabv3wideresnet38 = deepLab(
    "deeplabv3-wideresnet38", "segmentation: DeepLabV3 on WideResNet-38"
  ) { try WideResNet38().features($0, $1, isDilated: true) }

  static func deepLab(
    _ name: String, _ summary: String,
    _ features: @escaping @Sendable (Variable, ModelOptions) throws -> Variable
  ) -> Model {
    Model(name: name, summary: summary, image: [3, 520, 520], classes: 21) { images, options in
      try deepLabHead(features(images, options), image: images, options)
    }
  }
}
