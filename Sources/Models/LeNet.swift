import ABNGraph
import ABNLayers
import ABNTensors

extension Model {
  /// Two convolutions with pooling and two hidden layers, each normalized.
  ///
  /// After LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
  /// recognition" (1998), with normalization in place of its scaled tanh. Images of at least 4 x 4.
  public static let lenet = Model(
    name: "lenet", summary: "two convolutions with max pooling, two hidden layers",
    image: [1, 28, 28], classes: 10, sizes: ImageSizes(least: 4)
  ) { images, options in
    let none = ParamAttr.absent
    var x = try conv2d(images, numFilters: 16, filterSize: 5, padding: 2, biasAttr: none)
    x = try pool2d(options.normalized(x), poolSize: 2, poolStride: 2)
    x = try conv2d(x, numFilters: 32, filterSize: 5, padding: 2, biasAttr: none)
    x = try pool2d(options.normalized(x), poolSize: 2, poolStride: 2)
    x = try options.normalized(fc(x, size: 120, biasAttr: none))
    x = try options.normalized(fc(x, size: 84, biasAttr: none))
    return try fc(x, size: options.classes)
  }
}
