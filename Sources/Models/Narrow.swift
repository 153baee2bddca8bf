import ABNGraph
import ABNLayers
import ABNTensors

/// Networks of the package with fewer channels, for comparisons that are to be done soon.
extension Model {
  /// ResNet-50 with a quarter of its channels.
  package static let narrowResNet50 = ResNet(blocks: [3, 4, 6, 3], width: 16).model(
    "resnet50", "ResNet-50 with a quarter of its channels")

  /// U-Net with an eighth of its channels.
  package static let narrowUNet = Model(
    name: "unet", summary: "U-Net with an eighth of its channels", image: [1, 32, 32], classes: 2,
    sizes: Model.unet.sizes
  ) { try UNet(width: 8).logits($0, $1) }

  /// MobileNetV2 with half of its channels.
  package static let narrowMobileNetV2 = Model(
    name: "mobilenetv2", summary: "MobileNetV2 with half of its channels",
    image: Model.mobilenetv2.image, classes: Model.mobilenetv2.classes,
    sizes: Model.mobilenetv2.sizes, torchNames: Model.mobilenetv2.torchNames
  ) { try MobileNetV2(width: 16).logits($0, $1) }
}
