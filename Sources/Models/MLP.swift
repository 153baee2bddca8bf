import ABNGraph
import ABNLayers

extension Model {
  /// Two hidden layers of 128 features.
  public static let mlp = Model(
    name: "mlp", summary: "two hidden layers of 128 features, each normalized"
  ) { images, options in
    var x = images
    for _ in 0..<2 {
      x = try options.normalized(fc(x, size: 128, biasAttr: ParamAttr.none))
    }
    return try fc(x, size: options.classes)
  }
}
