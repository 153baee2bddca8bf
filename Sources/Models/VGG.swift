import ABNGraph
import ABNLayers
import ABNTensors

extension Model {
  /// VGG-16 with normalization after each convolution: 138,365,992 parameters.
  ///
  /// Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
  /// (ICLR 2015, arXiv 1409.1556), table 1, column D; half of the hidden features are dropped in
  /// training, section 3.1. The convolutions keep the paper's bias, as in torchvision's `vgg16_bn`,
  /// though the normalization takes it out again. Images of 224 x 224, or of another size from 32 x
  /// 32 on for a first fully connected layer of another size.
  public static let vgg16 = Model(
    name: "vgg16", summary: "13 convolutions of 3 x 3, each normalized, and 3 connected layers",
    image: [3, 224, 224], classes: 1000, sizes: ImageSizes(least: 32),
    torchNames: vgg16Names
  ) { images, options in
    var x = images
    for channels in [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]] {
      for filters in channels {
        x = try options.normalized(
          conv2d(
            x, numFilters: filters, filterSize: 3, padding: 1,
            paramAttr: ParamAttr(initializer: .msra(uniform: false))))
      }
      x = try pool2d(x, poolSize: 2, poolStride: 2)
    }
    for _ in 0..<2 {
      x = try dropout(
        options.activated(fc(x, size: 4096)), probability: 0.5, implementation: .upscaleInTrain)
    }
    return try fc(x, size: options.classes)
  }

  /// torchvision numbers the modules: convolution, normalization and activation take three, a
  /// pooling one, an activation and a dropout between connected layers two.
  private static var vgg16Names: [String] {
    var names: [String] = []
    var next = 0
    for convolutions in [2, 2, 3, 3, 3] {
      for _ in 0..<convolutions {
        names += ["features.\(next)", "features.\(next + 1)"]
        next += 3
      }
      next += 1
    }
    return names + ["classifier.0", "classifier.3", "classifier.6"]
  }
}
