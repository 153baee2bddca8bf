import ABNGraph
import ABNLayers
import ABNTensors

extension Model {
  /// ResNet-20 for small images: three stages of three blocks with 16, 32 and 64 channels.
  ///
  /// He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), section 4.2;
  /// where the shape changes, the shortcut is a 1 x 1 convolution with normalization (option B).
  public static let resnet20 = Model(
    name: "resnet20", summary: "residual network of 20 layers for images of about 32 x 32",
    image: [3, 32, 32], classes: 10
  ) { images, options in
    func conv(_ x: Variable, _ filters: Int, _ size: Int, stride: Int = 1) throws -> Variable {
      try conv2d(
        x, numFilters: filters, filterSize: size, stride: stride, padding: .same,
        biasAttr: .absent)
    }
    func block(_ x: Variable, _ filters: Int, stride: Int) throws -> Variable {
      var y = try options.normalized(conv(x, filters, 3, stride: stride))
      y = try options.normalized(conv(y, filters, 3), act: .identity)
      let shortcut =
        x.shape[1] == filters && stride == 1
        ? x : try options.normalized(conv(x, filters, 1, stride: stride), act: .identity)
      return try activation(elementwiseAdd(y, shortcut), options.activation)
    }
    var x = try options.normalized(conv(images, 16, 3))
    for (stage, filters) in [16, 32, 64].enumerated() {
      for index in 0..<3 {
        x = try block(x, filters, stride: stage > 0 && index == 0 ? 2 : 1)
      }
    }
    x = try pool2d(x, poolType: .average, globalPooling: true)
    return try fc(x, size: options.classes)
  }
}
