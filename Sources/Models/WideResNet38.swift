import ABNGraph
import ABNLayers
import ABNTensors

/// The network of 38 layers of Wu, Shen, van den Hengel, "Wider or Deeper: Revisiting the ResNet
/// Model for Visual Recognition" (2016, arXiv 1611.10080), table 1 (model A), that "In-Place
/// Activated BatchNorm" (arXiv 1712.02616) trains: pre-activated blocks; the image is halved by
/// max pooling before the first two groups and by the first convolution of the next three.
///
/// The dropout of the authors' last two groups is left out.
struct WideResNet38: Sendable {
  /// The channels of the first convolution; those of the table in proportion.
  var width = 64
  /// For each group: its blocks, and the channels of the convolutions of one: 3 x 3 twice, or 1 x
  /// 1, 3 x 3, 1 x 1.
  let groups = [
    (3, [128, 128]), (3, [256, 256]), (6, [512, 512]), (3, [512, 1024]), (1, [512, 1024, 2048]),
    (1, [1024, 2048, 4096]),
  ]

  /// The maps of a segmentation network.
  struct Maps {
    /// H / 4 high: what the third group reads.
    var low: Variable
    /// What the fifth group reads.
    var middle: Variable
    /// The features.
    var high: Variable
  }

  /// From images [N, 3, H, W] to maps [N, 64 widths, H / 32, W / 32].
  ///
  /// - Parameter stride: 32; or 16 or 8, with maps H / 16 or H / 8 high: groups dilate their 3 x 3
  ///   instead of halving the image. With 8 the fourth by 2 and the last two by 4.
  func features(_ images: Variable, _ options: ModelOptions, stride: Int = 32) throws -> Variable {
    try maps(images, options, stride: stride).high
  }

  /// The same, with the maps before.
  func maps(_ images: Variable, _ options: ModelOptions, stride: Int) throws -> Maps {
    var x = try conv(images, width, 3)
    var (low, middle): (Variable?, Variable?)
    // The first group that does not halve the image any more.
    let firstDilated = [8: 3, 16: 4, 32: 5][stride]!
    for (group, (count, channels)) in groups.enumerated() {
      if group < 2 { x = try pool2d(x, poolSize: 3, poolStride: 2, poolPadding: 1) }
      // The last group never halves the image.
      let dilation = group < firstDilated ? 1 : 1 << (min(group, 4) - firstDilated + 1)
      let halves = (2...4).contains(group) && group < firstDilated
      for index in 0..<count {
        let input = try options.normalized(x)
        if index == 0 && group == 2 { low = input }
        if index == 0 && group == 4 { middle = input }
        x = try block(
          x, input, channels.map { $0 * width / 64 }, stride: halves && index == 0 ? 2 : 1,
          dilation: dilation, options)
      }
    }
    return Maps(low: low!, middle: middle!, high: try options.normalized(x))
  }

  /// - Parameter input: x normalized.
  private func block(
    _ x: Variable, _ input: Variable, _ channels: [Int], stride: Int, dilation: Int,
    _ options: ModelOptions
  ) throws -> Variable {
    let shortcut =
      stride == 1 && x.shape[1] == channels.last!
      ? x : try conv(input, channels.last!, 1, stride: stride)
    let sizes = channels.count == 2 ? [3, 3] : [1, 3, 1]
    var y = input
    for (index, (filters, size)) in zip(channels, sizes).enumerated() {
      if index > 0 { y = try options.normalized(y) }
      y = try conv(
        y, filters, size, stride: index == 0 ? stride : 1, dilation: size == 3 ? dilation : 1)
    }
    return try elementwiseAdd(y, shortcut)
  }
}

extension WideResNet38 {
  /// The names of the layers in "In-Place Activated BatchNorm"'s repository, in the order in which
  /// `features` and then `classified` make them.
  ///
  /// Source: mapillary/inplace_abn, `scripts/models/wider_resnet.py`: `WiderResNetA2`.
  var originalNames: [String] {
    var names = ["mod1.conv1"]
    for (group, (count, channels)) in groups.enumerated() {
      for index in 0..<count {
        let block = "mod\(group + 2).block\(index + 1)"
        names.append("\(block).bn1")
        // Every group widens or halves the image in its first block.
        if index == 0 { names.append("\(block).proj_conv") }
        for layer in 1...channels.count {
          if layer > 1 { names.append("\(block).convs.bn\(layer)") }
          names.append("\(block).convs.conv\(layer)")
        }
      }
    }
    return names + ["bn_out", "classifier.fc"]
  }
}

extension Model {
  /// WideResNet-38: 109,167,912 parameters. See `WideResNet38`.
  public static let wideresnet38 = Model(
    name: "wideresnet38", summary: "wide residual network of 38 layers, normalized before",
    image: [3, 224, 224], classes: 1000
  ) { images, options in
    try options.classified(WideResNet38().features(images, options))
  }
}
