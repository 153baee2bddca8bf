import ABNGraph
import ABNLayers
import ABNTensors

/// A column of table 1 of Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional
/// Networks" (CVPR 2017, arXiv 1608.06993): DenseNet-BC with growth 32, bottlenecks of 4 * 32
/// channels and transitions that halve the channels.
///
/// Each layer joins what all before it made and normalizes the joined copy, which nobody else
/// reads.
struct DenseNet: Sendable {
  /// Layers in each of the four dense blocks.
  let layers: [Int]
  /// The channels that a layer adds.
  let growth = 32

  /// The network under a name.
  func model(_ name: String, _ summary: String) -> Model {
    Model(
      name: name, summary: summary, image: [3, 224, 224], classes: 1000,
      sizes: ImageSizes(least: 29), torchNames: torchNames
    ) { images, options in
      var x = try options.convNorm(images, 2 * growth, 7, stride: 2)
      x = try pool2d(x, poolSize: 3, poolStride: 2, poolPadding: 1)
      for (block, count) in layers.enumerated() {
        if block > 0 {
          x = try conv(options.normalized(x), x.shape[1] / 2, 1)
          x = try pool2d(x, poolSize: 2, poolType: .average, poolStride: 2)
        }
        var made = [x]
        for _ in 0..<count {
          let joined = made.count == 1 ? x : try concat(made, axis: 1)
          let y = try options.convNorm(options.normalized(joined), 4 * growth, 1)
          made.append(try conv(y, growth, 3))
        }
        x = try concat(made, axis: 1)
      }
      return try options.classified(options.normalized(x))
    }
  }

  /// torchvision's names of the layers, in the order in which `model` makes them.
  private var torchNames: [String] {
    var names = ["features.conv0", "features.norm0"]
    for (block, count) in layers.enumerated() {
      if block > 0 {
        names += ["norm", "conv"].map { "features.transition\(block).\($0)" }
      }
      for layer in 1...count {
        let place = "features.denseblock\(block + 1).denselayer\(layer)"
        names += ["norm1", "conv1", "norm2", "conv2"].map { "\(place).\($0)" }
      }
    }
    return names + ["features.norm5", "classifier"]
  }
}

extension Model {
  /// DenseNet-121: 7,978,856 parameters. See `DenseNet`.
  public static let densenet121 = DenseNet(layers: [6, 12, 24, 16])
    .model("densenet121", "densely connected network of 121 layers")
  /// DenseNet-264: 33,337,704 parameters.
  public static let densenet264 = DenseNet(layers: [6, 12, 64, 48])
    .model("densenet264", "densely connected network of 264 layers")
}
