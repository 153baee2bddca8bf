import ABNImages
import ArgumentParser
import InPlaceABN

/// How data are read, beside where from.
struct DataReadingOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Height and width at which pictures are seen; default: their own, and 224 for folder:DIR.",
      valueName: "pixels"))
  var imageSize: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The shorter side of a picture before its middle is cut out, where nothing is random; default: "
        + "8/7 of the image size.", valueName: "pixels"))
  var resize: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The share of each class that is held out, where the data are not divided yet.",
      valueName: "share"))
  var valSplit = 0.2

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Keep decoded pictures in up to this many MiB of memory.", valueName: "MiB"))
  var cache = 0

  @Flag(help: "Leave out pictures that cannot be read, name and count them.")
  var skipBroken = false

  /// The options as the readers take them.
  func options(for source: DataSource, threads: Int) throws -> DataOptions {
    var options = DataOptions()
    options.validationShare = valSplit
    options.skipsBroken = skipBroken
    options.threads = threads
    guard (0...1 << 40).contains(cache) else {
      throw ABNError(.attribute, "--cache", got: "\(cache)", wanted: "0 MiB or more")
    }
    options.cacheBytes = cache << 20
    guard imageSize != nil || resize != nil else { return options }
    guard let side = imageSize ?? (source.name == "folder" ? 224 : nil) else {
      throw ABNError(
        .attribute, "--resize", got: "no --image-size beside it", wanted: "both",
        fix: "The size of these data is their own.")
    }
    guard (1...1 << 14).contains(side) else {
      throw ABNError(.attribute, "--image-size", got: "\(side)", wanted: "1...\(1 << 14)")
    }
    var geometry = PictureGeometry(side: side)
    if let resize { geometry.resize = resize }
    try geometry.validate()
    options.geometry = geometry
    return options
  }
}

/// How pictures are changed in training.
struct AugmentationOptions: ParsableArguments {
  /// What `--augment` may be.
  static let names = ["usual", "none", "crop", "trivial", "rand"]

  @Option(
    help: ArgumentHelp(
      "How pictures are changed: usual (what is usual for the data), none, crop (a random part, "
        + "mirrored), trivial (that and TrivialAugment), rand (that and RandAugment).",
      valueName: "name"))
  var augment = "usual"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The strength of RandAugment, 0 to 30.", valueName: "number"))
  var magnitude = 9

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The least area of the random part, as a share of the picture's.", valueName: "share"))
  var cropArea = 0.08

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "By how much brightness, contrast, saturation and hue are changed: b,c,s,h, as 0.4,0.4,0.4,0.1.",
      valueName: "numbers"))
  var colorJitter: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("With which probability a rectangle is erased.", valueName: "share"))
  var erasing = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Add pictures with shares of Beta(a, a); 0: not.", valueName: "a"))
  var mixup = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Put rectangles of pictures into others, with shares of Beta(a, a); 0: not.", valueName: "a"))
  var cutmix = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The share of a label that is spread over all classes.", valueName: "share"))
  var labelSmoothing = 0.0

  /// The changes for pictures of these data.
  ///
  /// - Throws: `ABNError(.name)` for an unknown `--augment`, `(.attribute)` for a number outside its range.
  func augmentation(for source: DataSource) throws -> Augmentation {
    var augmentation: Augmentation
    switch augment {
    case "usual": augmentation = source.usualAugmentation
    case "none": augmentation = .none
    case "crop", "trivial", "rand":
      augmentation = .photographs
      if augment == "trivial" { augmentation.policy = .trivial }
      if augment == "rand" { augmentation.policy = .random(changes: 2, magnitude: magnitude) }
    default: throw ABNError(unknown: augment, "--augment", names: Self.names)
    }
    augmentation.resizedCrop?.leastArea = cropArea
    if let colorJitter {
      let numbers = colorJitter.split(separator: ",", omittingEmptySubsequences: false).map {
        Double($0)
      }
      guard numbers.count == 4, let b = numbers[0], let c = numbers[1], let s = numbers[2],
        let h = numbers[3]
      else {
        throw ABNError(
          .attribute, "--color-jitter", got: quoted(colorJitter),
          wanted: "four numbers with commas between, as 0.4,0.4,0.4,0.1")
      }
      augmentation.jitter = ColourJitter(brightness: b, contrast: c, saturation: s, hue: h)
    }
    augmentation.erasing = erasing
    (augmentation.mixup, augmentation.cutmix) = (mixup, cutmix)
    augmentation.labelSmoothing = labelSmoothing
    try augmentation.validate()
    return augmentation
  }
}
