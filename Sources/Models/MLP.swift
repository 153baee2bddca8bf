import ABNGraph
import ABNLayers
import ABNTensors

extension Model {
  /// Two hidden layers of 128 features.
  public static let mlp = Model(
    name: "mlp", summary: "two hidden layers of 128 features, each normalized",
    image: [1, 28, 28], classes: 10
  ) { images, options in
    var x = images
    for _ in 0..<2 {
      x = try options.normalized(fc(x, size: 128, biasAttr: .absent))
    }
    return try fc(x, size: options.classes)
  }
}
