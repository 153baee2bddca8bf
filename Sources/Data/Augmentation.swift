import ABNTensors

/// How a picture is changed each time that it is seen, and its class with it.
///
/// In this order: a random part of it at the size that the network takes, or the middle; cutting
/// and mirroring; distortion; colours; a policy; erasing. Then, of the whole batch, labels are
/// smoothed, and pictures are mixed. Everything is drawn from (seed, epoch, picture), mixing from
/// (seed, epoch, batch).
public struct Augmentation: Sendable, Hashable, Codable {
  /// The picture gets this many rows and columns of zero bytes on each side, and a part of its
  /// former size is cut out at a random place; 0 for no cutting.
  public var cropPadding: Int
  /// Whether every second picture, on average, is mirrored left to right.
  public var flipsHorizontally: Bool
  /// How much the picture is turned, stretched and sheared: the point that is seen at p, from the
  /// middle of the picture, is one at (I + A) p of the original, and the four elements of A are
  /// uniform in -distortion ..< distortion. Cutting, too, is then by parts of a pixel. 0 for none,
  /// below 1.
  public var distortion: Double
  /// Which random part of the picture is seen; nil: the middle.
  package var resizedCrop: ResizedCrop?
  /// By which factors a picture with a mask is enlarged, both with one that is uniform in this
  /// range, before a part is cut out; nil: not at all.
  package var scaling: ClosedRange<Double>?
  /// A picture with a mask is turned by up to so many degrees, to both sides.
  package var rotation: Double = 0
  /// How colours are changed; nil: not at all.
  package var jitter: ColourJitter?
  /// Which changes are drawn from a list; nil: none.
  package var policy: AugmentationPolicy?
  /// With which probability a rectangle of a picture is erased: set to the mean of the data.
  ///
  /// Its area is 2 to 33 % of the picture's, its sides are in a ratio of 0.3 to 3.3.
  /// Source: Z. Zhong et al., "Random Erasing Data Augmentation" (AAAI 2020), arXiv 1708.04896.
  package var erasing: Double = 0
  /// Two pictures of a batch are added with weights of a Beta(mixup, mixup) distribution, and so
  /// are their classes; 0 for not.
  ///
  /// Source: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018), arXiv
  /// 1710.09412.
  package var mixup: Double = 0
  /// A rectangle of a picture is replaced by that of another one, and its class by the share of the
  /// area, drawn from Beta(cutmix, cutmix); 0 for not. With `mixup` above 0 too, each batch gets
  /// one of the two, drawn evenly.
  ///
  /// Source: S. Yun et al., "CutMix" (ICCV 2019), arXiv 1905.04899.
  package var cutmix: Double = 0
  /// The share of a label that is spread evenly over all classes; 0 for none.
  ///
  /// Source: C. Szegedy et al., "Rethinking the Inception Architecture" (CVPR 2016), section 7.
  package var labelSmoothing: Double = 0

  /// A change by cutting, mirroring and distortion.
  public init(cropPadding: Int, flipsHorizontally: Bool, distortion: Double = 0) {
    self.cropPadding = cropPadding
    self.flipsHorizontally = flipsHorizontally
    self.distortion = distortion
  }

  /// What is usual for CIFAR-10: 4 pixels of padding, mirrored.
  ///
  /// Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition"
  /// (CVPR 2016), section 4.2.
  public static let cifar = Augmentation(cropPadding: 4, flipsHorizontally: true)

  /// Nothing is changed.
  package static let none = Augmentation(cropPadding: 0, flipsHorizontally: false)

  /// What is usual for photographs: a random part, mirrored.
  ///
  /// Source: the same of C. Szegedy et al., "Going Deeper with Convolutions" (CVPR 2015), as
  /// torchvision's `RandomResizedCrop` and `RandomHorizontalFlip` do it.
  package static let photographs: Augmentation = {
    var augmentation = Augmentation(cropPadding: 0, flipsHorizontally: true)
    augmentation.resizedCrop = ResizedCrop()
    return augmentation
  }()

  /// What is usual for pictures with masks: half to twice their size, a random part, mirrored.
  ///
  /// Source: the same of L.-C. Chen et al., "Rethinking Atrous Convolution for Semantic Image
  /// Segmentation" (2017), section 4.1, arXiv 1706.05587.
  package static let scenes: Augmentation = {
    var augmentation = Augmentation(cropPadding: 0, flipsHorizontally: true)
    augmentation.scaling = 0.5...2
    return augmentation
  }()

  /// Whether labels are shares of classes.
  package var hasSoftLabels: Bool { mixup > 0 || cutmix > 0 || labelSmoothing > 0 }

  /// Whether more is done than cutting, mirroring and distortion.
  var changesPictures: Bool { resizedCrop != nil || jitter != nil || policy != nil }
}

/// A random rectangle of a picture, resized to what the network takes.
///
/// Area and ratio are drawn ten times, until the rectangle lies inside; then the middle is taken,
/// at the nearest ratio that is allowed.
package struct ResizedCrop: Sendable, Hashable, Codable {
  /// The share of the picture's area, from, to.
  package var leastArea: Double
  package var mostArea: Double
  /// Width over height, from, to; its logarithm is uniform.
  package var leastRatio: Double
  package var mostRatio: Double

  package init(
    leastArea: Double = 0.08, mostArea: Double = 1, leastRatio: Double = 3.0 / 4,
    mostRatio: Double = 4.0 / 3
  ) {
    (self.leastArea, self.mostArea) = (leastArea, mostArea)
    (self.leastRatio, self.mostRatio) = (leastRatio, mostRatio)
  }
}

/// Brightness, contrast and saturation are multiplied by factors that are uniform in 1 - x ... 1 +
/// x, the hue is turned by -x ... x of the circle; in an order that is drawn. As torchvision's
/// `ColorJitter`.
package struct ColourJitter: Sendable, Hashable, Codable {
  package var brightness: Double
  package var contrast: Double
  package var saturation: Double
  /// 0...0.5.
  package var hue: Double

  package init(
    brightness: Double = 0, contrast: Double = 0, saturation: Double = 0, hue: Double = 0
  ) {
    (self.brightness, self.contrast) = (brightness, contrast)
    (self.saturation, self.hue) = (saturation, hue)
  }
}

/// Which changes of the list of `PictureChange` a picture gets.
package enum AugmentationPolicy: Sendable, Hashable, Codable {
  /// One change of the wide list, each as strong as is drawn.
  ///
  /// Source: S. Mueller, F. Hutter, "TrivialAugment" (ICCV 2021), arXiv 2103.10158, as
  /// torchvision's `TrivialAugmentWide`.
  case trivial
  /// This many changes, all of one strength of 0...30.
  ///
  /// Source: E. Cubuk et al., "RandAugment" (NeurIPS 2020), arXiv 1909.13719, as torchvision's
  /// `RandAugment`.
  case random(changes: Int, magnitude: Int)
}

extension Augmentation {
  /// - Throws: `ABNError(.attribute)` for a number outside its range.
  package func validate() throws {
    func require(_ holds: Bool, _ what: String, _ got: some Any, _ wanted: String) throws {
      if holds { return }
      throw ABNError(.attribute, "batch loader: \(what)", got: "\(got)", wanted: wanted)
    }
    try require(
      (0...1 << 15).contains(cropPadding), "cropPadding", cropPadding, "0...\(1 << 15)")
    try require((0..<1).contains(distortion), "distortion", distortion, "a number in 0..<1")
    try require((0...1).contains(erasing), "erasing", erasing, "a probability, 0...1")
    try require((0..<1).contains(labelSmoothing), "label smoothing", labelSmoothing, "0..<1")
    for (what, alpha) in [("mixup", mixup), ("cutmix", cutmix)] {
      try require((0...1000).contains(alpha), what, alpha, "a number in 0...1000")
    }
    if let scaling {
      try require(
        scaling.lowerBound >= 0.01 && scaling.upperBound <= 100, "range of scales",
        "\(scaling.lowerBound),\(scaling.upperBound)", "two numbers in 0.01...100")
    }
    try require((0...180).contains(rotation), "rotation", rotation, "degrees, 0...180")
    if let crop = resizedCrop {
      try require(
        crop.leastArea > 0 && crop.leastArea <= crop.mostArea && crop.mostArea <= 1,
        "area of the random part", "\(crop.leastArea)...\(crop.mostArea)",
        "two shares in 0...1, the first above 0 and not above the second")
      try require(
        crop.leastRatio >= 1e-3 && crop.leastRatio <= crop.mostRatio && crop.mostRatio <= 1e3,
        "ratio of the random part", "\(crop.leastRatio)...\(crop.mostRatio)",
        "two numbers in 0.001...1000, the first not above the second")
    }
    if let jitter {
      for (what, value) in [
        ("brightness", jitter.brightness), ("contrast", jitter.contrast),
        ("saturation", jitter.saturation),
      ] {
        try require((0...1).contains(value), what, value, "0...1")
      }
      try require((0...0.5).contains(jitter.hue), "hue", jitter.hue, "0...0.5")
    }
    if case .random(let changes, let magnitude)? = policy {
      try require((1...16).contains(changes), "changes of RandAugment", changes, "1...16")
      try require(
        (0...30).contains(magnitude), "magnitude of RandAugment", magnitude, "0...30")
    }
  }
}
