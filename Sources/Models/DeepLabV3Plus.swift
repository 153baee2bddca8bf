import ABNGraph
import ABNLayers
import ABNTensors

extension SegmentationBackbone {
  /// Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for
  /// Semantic Image Segmentation" (ECCV 2018, arXiv 1802.02611), section 3.1 and table 2, with
  /// convolutions that are not separable, as the paper has them on ResNets.
  ///
  /// The pyramid of DeepLabV3, resized to the maps a quarter of the image high; those behind a 1 x
  /// 1 to 48 channels; both side by side through two 3 x 3 of 256, and the logits at the size of
  /// the image.
  ///
  /// - Parameter stride: how many pixels of the image a place of the last maps stands for, 16 or 8;
  ///   the rates 6, 12, 18 are doubled for 8.
  func deepLabV3Plus(_ name: String, _ summary: String, stride: Int) -> Model {
    Model(
      name: name, summary: summary, image: [3, 512, 512], classes: 21, torchNames: nil,
      backbone: backbone, auxiliaryNames: []
    ) { images, options, hasAuxiliaryHead in
      let maps = try maps(images, options, stride)
      let rates = [6, 12, 18].map { $0 * 16 / stride }
      let high = try resized(atrousPyramid(maps.high, rates: rates, options), to: maps.low)
      let low = try options.convNorm(maps.low, 48, 1)
      var y = try concat([high, low], axis: 1)
      for _ in 0..<2 { y = try options.convNorm(y, 256, 3) }
      y = try conv2d(y, numFilters: options.classes, filterSize: 1)
      return (
        try resized(y, to: images),
        hasAuxiliaryHead ? try auxiliaryLogits(maps.middle, image: images, options) : nil
      )
    }
  }
}

extension Model {
  /// DeepLabV3+ on ResNet-50, ResNet-101 and WideResNet-38, for the 21 classes of PASCAL VOC, at an
  /// output stride of 16 and, behind `-os8`, of 8.
  package static let deepLabV3Plus: [Model] = [
    ("resnet50", "ResNet-50", SegmentationBackbone.resNet50),
    ("resnet101", "ResNet-101", .resNet101), ("wideresnet38", "WideResNet-38", .wideResNet38),
  ].flatMap { name, title, backbone in
    [(16, ""), (8, "-os8")].map { stride, suffix in
      backbone.deepLabV3Plus(
        "deeplabv3plus-\(name)\(suffix)",
        "segmentation: DeepLabV3+ on \(title), output stride \(stride)", stride: stride)
    }
  }
}
