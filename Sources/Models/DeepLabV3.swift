import ABNGraph
import ABNLayers
import ABNTensors

/// The pyramid of Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic
/// Image Segmentation" (2017, arXiv 1706.05587), section 3.3: a 1 x 1 convolution, three 3 x 3
/// dilated by `rates` and the mean of the image side by side, 256 channels each; then 1 x 1 to 256.
func atrousPyramid(_ x: Variable, rates: [Int], _ options: ModelOptions) throws -> Variable {
  var branches = [try options.convNorm(x, 256, 1)]
  for dilation in rates {
    branches.append(try options.convNorm(x, 256, 3, dilation: dilation))
  }
  let mean = try options.convNorm(
    pool2d(x, poolType: .average, globalPooling: true), 256, 1)
  branches.append(try resizeNearest(mean, outShape: [x.shape[2], x.shape[3]]))
  return try options.convNorm(concat(branches, axis: 1), 256, 1)
}

/// Maps at the height and width of others, as torchvision resizes them.
func resized(_ x: Variable, to other: Variable) throws -> Variable {
  try resizeBilinear(
    x, outShape: [other.shape[2], other.shape[3]], alignCorners: false, alignMode: 0)
}

/// The last layers of an auxiliary head as torchvision has them: 3 x 3 to a quarter of the
/// channels, a tenth dropped in training, and the logits at the size of the image.
func auxiliaryLogits(
  _ maps: Variable, image: Variable, _ options: ModelOptions
) throws -> Variable {
  var y = try options.convNorm(maps, maps.shape[1] / 4, 3)
  y = try dropout(y, probability: 0.1, implementation: .upscaleInTrain)
  return try resized(conv2d(y, numFilters: options.classes, filterSize: 1), to: image)
}

/// Maps of a network that a segmentation's heads read.
struct SegmentationMaps {
  /// A quarter of the image high.
  let low: Variable
  /// In the middle: what an auxiliary head reads.
  let middle: Variable
  /// The last.
  let high: Variable
}

/// A network whose maps a segmentation is made of, and its names.
struct SegmentationBackbone: Sendable {
  let backbone: Backbone
  /// torchvision's names of the layers; nil: there is no such program.
  let torchNames: [String]?
  /// The maps, the last an eighth or a sixteenth of the image high.
  let maps:
    @Sendable (_ images: Variable, _ options: ModelOptions, _ stride: Int) throws ->
      SegmentationMaps

  /// A ResNet, whose last stages dilate.
  static func resNet(_ name: String, _ network: ResNet) -> Self {
    Self(
      backbone: Backbone(name, layers: network.torchNames),
      torchNames: network.torchNames.dropLast().map { "backbone.\($0)" }
    ) { images, options, stride in
      let stages = try network.stages(images, options, dilated: stride == 8 ? 2 : 1)
      return SegmentationMaps(low: stages[0], middle: stages[2], high: stages[3])
    }
  }

  static let resNet50 = resNet("resnet50", ResNet(blocks: [3, 4, 6, 3]))
  static let resNet101 = resNet("resnet101", ResNet(blocks: [3, 4, 23, 3]))
  static let wideResNet38 = Self(
    backbone: Backbone("wideresnet38", layers: WideResNet38().originalNames), torchNames: nil
  ) { images, options, stride in
    let maps = try WideResNet38().maps(images, options, stride: stride)
    return SegmentationMaps(low: maps.low, middle: maps.middle, high: maps.high)
  }
}

extension SegmentationBackbone {
  /// DeepLabV3 on maps an eighth of the image high: the pyramid with the paper's rates 6, 12, 18
  /// doubled, as in torchvision one 3 x 3, and the logits at the size of the image.
  func deepLabV3(_ name: String, _ summary: String) -> Model {
    let head =
      (0..<4).flatMap { ["0.convs.\($0).0", "0.convs.\($0).1"] }
      + ["0.convs.4.1", "0.convs.4.2", "0.project.0", "0.project.1", "1", "2", "4"]
    return Model(
      name: name, summary: summary, image: [3, 520, 520], classes: 21,
      torchNames: torchNames.map { $0 + head.map { "classifier.\($0)" } }, backbone: backbone,
      auxiliaryNames: torchNames == nil ? [] : [0, 1, 4].map { "aux_classifier.\($0)" }
    ) { images, options, hasAuxiliaryHead in
      let maps = try maps(images, options, 8)
      var y = try atrousPyramid(maps.high, rates: [12, 24, 36], options)
      y = try options.convNorm(y, 256, 3)
      y = try conv2d(y, numFilters: options.classes, filterSize: 1)
      return (
        try resized(y, to: images),
        hasAuxiliaryHead ? try auxiliaryLogits(maps.middle, image: images, options) : nil
      )
    }
  }
}

extension Model {
  /// DeepLabV3 on ResNet-50, for the 21 classes of PASCAL VOC: 39,638,869 parameters.
  public static let deeplabv3resnet50 = SegmentationBackbone.resNet50.deepLabV3(
    "deeplabv3-resnet50", "segmentation: DeepLabV3 on ResNet-50")

  /// DeepLabV3 on ResNet-101: 58,630,997 parameters.
  public static let deeplabv3resnet101 = SegmentationBackbone.resNet101.deepLabV3(
    "deeplabv3-resnet101", "segmentation: DeepLabV3 on ResNet-101")

  /// DeepLabV3 on WideResNet-38, the network of "In-Place Activated BatchNorm", section 4.2, with
  /// the head of Chen et al.: 136,406,101 parameters.
  public static let deeplabv3wideresnet38 = SegmentationBackbone.wideResNet38.deepLabV3(
    "deeplabv3-wideresnet38", "segmentation: DeepLabV3 on WideResNet-38")
}
