import ABNGraph
import ABNLayers
import ABNTensors

/// Figure 1 of Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image
/// Segmentation" (MICCAI 2015, arXiv 1505.04597), with two changes that are usual today:
/// convolutions keep the image's size, so that the logits are as large as the image, and are
/// normalized.
struct UNet: Sendable {
  /// The channels at the size of the image; each halving doubles them.
  var width = 64

  /// From images [N, C, H, W], H and W multiples of 16, to logits [N, classes, H, W].
  func logits(_ images: Variable, _ options: ModelOptions) throws -> Variable {
    func twoConvolutions(_ x: Variable, _ filters: Int) throws -> Variable {
      try options.convNorm(options.convNorm(x, filters, 3), filters, 3)
    }
    var (x, shortcuts) = (images, [Variable]())
    for depth in 0..<4 {
      shortcuts.append(try twoConvolutions(x, width << depth))
      x = try pool2d(shortcuts[depth], poolSize: 2, poolStride: 2)
    }
    x = try twoConvolutions(x, width << 4)
    for depth in (0..<4).reversed() {
      // The up-convolution, 2 x 2 with stride 2: each pixel becomes 2 x 2 pixels of half the
      // channels.
      x = try depthToSpace(conv(x, 4 * (width << depth), 1), 2)
      x = try twoConvolutions(concat([shortcuts[depth], x], axis: 1), width << depth)
    }
    return try conv2d(x, numFilters: options.classes, filterSize: 1)
  }
}

extension UNet {
  fileprivate func model(_ name: String, _ summary: String) -> Model {
    Model(
      name: name, summary: summary, image: [1, 512, 512], classes: 2,
      sizes: ImageSizes(multiple: 16)
    ) { try logits($0, $1) }
  }
}

extension Model {
  /// U-Net: 31,035,586 parameters for one channel and two classes. See `UNet`.
  public static let unet = UNet().model(
    "unet", "segmentation: down and up again with shortcuts at each size")
  /// The same with a quarter of the channels: 1,941,778 parameters.
  package static let unetSmall = UNet(width: 16).model(
    "unet-small", "segmentation: U-Net with a quarter of its channels")
}
