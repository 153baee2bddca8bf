import ABNGraph
import ABNLayers
import ABNTensors

/// A column of table 1 of He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR
/// 2016, arXiv 1512.03385): convolution, normalization, activation; shortcuts of option B, a 1 x 1
/// convolution with normalization where the shape changes.
///
/// A bottleneck halves the image in its 3 x 3 convolution, as torchvision does and as everybody
/// measures ("v1.5", 4.09 G multiply-adds for 50 layers); the paper does so in the 1 x 1 before it
/// (3.8 G). The parameters are the same.
///
/// With groups a column of table 1 of Xie, Girshick, Dollar, Tu, He, "Aggregated Residual
/// Transformations for Deep Neural Networks" (CVPR 2017, arXiv 1611.05431).
struct ResNet: Sendable {
  /// Blocks in conv2_x, conv3_x, conv4_x, conv5_x.
  let blocks: [Int]
  /// 1 x 1, 3 x 3, 1 x 1 with four times the channels; else two 3 x 3.
  var isBottleneck = true
  /// The cardinality of the 3 x 3 of a bottleneck.
  var groups = 1
  /// The channels of one group where a stage is 64 wide.
  var groupWidth = 64
  /// The width of conv2_x; each later stage is twice as wide.
  var width = 64
  /// Three 3 x 3 in the place of the first 7 x 7: He et al., "Bag of Tricks for Image
  /// Classification with Convolutional Neural Networks" (CVPR 2019, arXiv 1812.01187), ResNet-C.
  /// `torchNames` are of the other.
  var hasDeepStem = false

  /// The network under a name.
  func model(_ name: String, _ summary: String) -> Model {
    Model(
      name: name, summary: summary, image: [3, 224, 224], classes: 1000, torchNames: torchNames
    ) { images, options in
      try options.classified(features(images, options))
    }
  }

  /// From images [N, 3, H, W] to the maps of conv5_x, [N, 8 or 32 widths, H / 32, W / 32].
  ///
  /// - Parameter dilated: how many of the last stages dilate their 3 x 3 where they would halve the
  ///   image, so that the maps are H / 16 (1) or H / 8 (2) high.
  func features(_ images: Variable, _ options: ModelOptions, dilated: Int = 0) throws -> Variable {
    try stages(images, options, dilated: dilated).last!
  }

  /// The maps of conv2_x, H / 4 high, and of each later stage: see `features`.
  func stages(
    _ images: Variable, _ options: ModelOptions, dilated: Int = 0
  ) throws -> [Variable] {
    try stemAndStages(images, options, dilated: dilated).stages
  }

  /// The same, and the maps before, H / 2 high.
  func stemAndStages(
    _ images: Variable, _ options: ModelOptions, dilated: Int = 0
  ) throws -> (stem: Variable, stages: [Variable]) {
    let stem = try stem(images, options)
    var x = try pool2d(stem, poolSize: 3, poolStride: 2, poolPadding: 1)
    var dilation = 1
    var maps: [Variable] = []
    for (stage, count) in blocks.enumerated() {
      let isDilated = stage >= blocks.count - dilated
      for index in 0..<count {
        let isFirst = stage > 0 && index == 0
        x = try block(
          x, width << stage, stride: isFirst && !isDilated ? 2 : 1, dilation: dilation, options)
        if isFirst && isDilated { dilation *= 2 }
      }
      maps.append(x)
    }
    return (stem, maps)
  }

  private func stem(_ images: Variable, _ options: ModelOptions) throws -> Variable {
    guard hasDeepStem else { return try options.convNorm(images, width, 7, stride: 2) }
    let x = try options.convNorm(images, width / 2, 3, stride: 2)
    return try options.convNorm(options.convNorm(x, width / 2, 3), width, 3)
  }

  /// torchvision's names of the layers, in the order in which `features` and then `classified` make
  /// them: the shortcut's after those of its block.
  var torchNames: [String] {
    let convolutions = isBottleneck ? 3 : 2
    var names = ["conv1", "bn1"]
    for (stage, count) in blocks.enumerated() {
      for index in 0..<count {
        let block = "layer\(stage + 1).\(index)"
        for number in 1...convolutions {
          names += ["\(block).conv\(number)", "\(block).bn\(number)"]
        }
        // Later stages halve the image; the first widens where its blocks are bottlenecks.
        if index == 0 && (stage > 0 || isBottleneck) {
          names += ["\(block).downsample.0", "\(block).downsample.1"]
        }
      }
    }
    return names + ["fc"]
  }

  private func block(
    _ x: Variable, _ width: Int, stride: Int, dilation: Int, _ options: ModelOptions
  ) throws -> Variable {
    let outputs = isBottleneck ? 4 * width : width
    var y = x
    if isBottleneck {
      let inner = width * groupWidth * groups / 64
      y = try options.convNorm(y, inner, 1)
      y = try options.convNorm(y, inner, 3, stride: stride, dilation: dilation, groups: groups)
      y = try options.convNorm(y, outputs, 1, act: .identity)
    } else {
      y = try options.convNorm(y, width, 3, stride: stride, dilation: dilation)
      y = try options.convNorm(y, width, 3, dilation: dilation, act: .identity)
    }
    let shortcut =
      x.shape[1] == outputs && stride == 1
      ? x : try options.convNorm(x, outputs, 1, stride: stride, act: .identity)
    return try options.activated(elementwiseAdd(y, shortcut))
  }
}

extension Model {
  /// ResNet-18: 11,689,512 parameters. See `ResNet`.
  public static let resnet18 = ResNet(blocks: [2, 2, 2, 2], isBottleneck: false)
    .model("resnet18", "residual network of 18 layers")
  /// ResNet-34: 21,797,672 parameters.
  public static let resnet34 = ResNet(blocks: [3, 4, 6, 3], isBottleneck: false)
    .model("resnet34", "residual network of 34 layers")
  /// ResNet-50: 25,557,032 parameters.
  public static let resnet50 = ResNet(blocks: [3, 4, 6, 3])
    .model("resnet50", "residual network of 50 layers, with bottlenecks")
  /// ResNet-101: 44,549,160 parameters.
  public static let resnet101 = ResNet(blocks: [3, 4, 23, 3])
    .model("resnet101", "residual network of 101 layers, with bottlenecks")
  /// ResNet-152: 60,192,808 parameters.
  public static let resnet152 = ResNet(blocks: [3, 8, 36, 3])
    .model("resnet152", "residual network of 152 layers, with bottlenecks")
}
