import ABNGraph
import ABNLayers
import ABNTensors

/// The single-scale network of Oršić, Krešo, Bevandić, Šegvić, "In Defense of Pre-trained
/// ImageNet Architectures for Real-time Semantic Segmentation of Road-driving Images" (CVPR 2019,
/// arXiv 1903.08469), section 3: a ResNet of basic blocks, a pyramid of means over a few cells, and
/// a way up again, where maps of the ResNet are added. What the authors call SwiftNet has nothing
/// to do with the language of this package.
///
/// On the way up maps are normalized and activated before each convolution; the logits are made a
/// quarter of the image high and resized.
struct SwiftNet: Sendable {
  /// The way down.
  var network = ResNet(blocks: [2, 2, 2, 2], isBottleneck: false)
  /// The channels on the way up.
  var width = 128
  /// The 3 x 3 convolutions, of half as many channels, on maps half the image high, where the way
  /// up goes on to what the ResNet's first pooling reads; 0: it ends a quarter of the image high,
  /// as the authors' does.
  var finest = 0
  /// The cells along the height of each mean.
  let grids = [8, 4, 2]

  /// From images [N, C, H, W] to logits [N, classes, H, W].
  func logits(_ images: Variable, _ options: ModelOptions) throws -> Variable {
    let (stem, maps) = try network.stemAndStages(images, options)
    var x = try pyramid(maps.last!, options)
    for (index, map) in maps.dropLast().enumerated().reversed() {
      x = try elementwiseAdd(resized(x, to: map), conv(map, width, 1))
      x = try conv(options.normalized(x), index == 0 && finest > 0 ? width / 2 : width, 3)
    }
    if finest > 0 {
      x = try elementwiseAdd(resized(x, to: stem), conv(stem, width / 2, 1))
      for _ in 0..<finest { x = try conv(options.normalized(x), width / 2, 3) }
    }
    x = try conv2d(options.normalized(x), numFilters: options.classes, filterSize: 1)
    return try resized(x, to: images)
  }

  /// The maps, and their means over grids of cells as nearly square as can be, side by side.
  private func pyramid(_ maps: Variable, _ options: ModelOptions) throws -> Variable {
    let x = try conv(maps, width, 1)
    let y = try options.normalized(x)
    let (height, width) = (x.shape[2], x.shape[3])
    var levels = [y]
    // Small maps have fewer cells, and all sizes of images the same parameters.
    for rows in grids.map({ min($0, height) }) {
      let columns = min(width, max(1, Int((Double(rows * width) / Double(height)).rounded())))
      let means = try adaptivePool2d(y, poolSize: [rows, columns], poolType: .average)
      levels.append(try resized(options.convNorm(means, self.width / grids.count, 1), to: x))
    }
    return try conv(concat(levels, axis: 1), self.width, 1)
  }
}

extension Model {
  /// SwiftNet on ResNet-18, for the 19 classes of Cityscapes: 11,794,129 parameters.
  package static let swiftNetResNet18 = {
    let network = SwiftNet()
    return Model(
      name: "swiftnet-resnet18",
      summary: "segmentation: ResNet-18 and a way up with sums", image: [3, 512, 1024], classes: 19,
      torchNames: nil, backbone: Backbone("resnet18", layers: network.network.torchNames),
      auxiliaryNames: nil
    ) { images, options, _ in (try network.logits(images, options), nil) }
  }()

  /// The same with half of the channels, three 3 x 3 in the place of the first 7 x 7, and a way up
  /// that ends half the image high, for the 11 classes of CamVid: 2,947,306 parameters, 2.6 G
  /// multiply-adds, what two processor cores train within an hour.
  package static let swiftNetLight = Model(
    name: "swiftnet-light", summary: "segmentation: a light network for processors",
    image: [3, 360, 480], classes: 11
  ) {
    let network = ResNet(
      blocks: [2, 2, 2, 2], isBottleneck: false, width: 32, hasDeepStem: true)
    return try SwiftNet(network: network, width: 64, finest: 1).logits($0, $1)
  }
}
