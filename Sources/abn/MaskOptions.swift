import ABNImages
import ArgumentParser
import InPlaceABN

/// What masks hold.
struct MaskOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What the numbers or colours in masks stand for; default: \(PixelClasses.fileName) in the folder "
        + "of the data.", valueName: "file"))
  var classFile: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Numbers in masks that do not count, beside 255 and those of the file.",
      valueName: "number,..."))
  var ignoreIndex: String?

  /// - Throws: `ABNError(.attribute)` for what is no number.
  func apply(to options: inout DataOptions) throws {
    options.classesFile = classFile
    options.ignoredValues =
      try ignoreIndex.map {
        try numbers($0, "--ignore-index", wanted: "numbers of 0...255, commas between them")
      } ?? []
  }
}

/// How pictures with masks are changed in training.
struct SceneOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The part of a picture with a mask that is seen in training; default: the size of the first one, at "
        + "most 512 a side.", valueName: "HxW"))
  var cropSize: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "A picture with a mask is scaled by a factor between these; default: 0.5,2.",
      valueName: "a,b"))
  var scaleRange: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "A picture with a mask is turned by up to so many degrees.", valueName: "degrees"))
  var rotate: Double?

  var isGiven: Bool { cropSize != nil || scaleRange != nil || rotate != nil }

  /// - Throws: `ABNError(.attribute)` for what is no size or no range.
  func apply(to settings: inout TrainingSettings) throws {
    settings.dataOptions.cropSize = try cropSize.map { try pictureSize($0, "--crop-size") }
    if let scaleRange {
      let wanted = "two numbers with a comma between, the first not above the second: 0.5,2"
      let ends: [Double] = try numbers(scaleRange, "--scale-range", wanted: wanted)
      guard ends.count == 2, ends[0] > 0, ends[0] <= ends[1], ends[1].isFinite else {
        throw ABNError(.attribute, "--scale-range", got: quoted(scaleRange), wanted: wanted)
      }
      settings.augmentation.scaling = ends[0]...ends[1]
    }
    settings.augmentation.rotation = rotate ?? settings.augmentation.rotation
  }
}

/// What a network that segments minimizes.
struct SegmentationOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What a network that segments minimizes, names joined by + for a sum: "
        + SegmentationLossKind.Term.allCases.map(\.rawValue).joined(separator: ", ") + ".",
      valueName: "name"))
  var loss = SegmentationLossKind.crossEntropy.name

  @Option(
    help: ArgumentHelp(
      "What pixels of rare classes count: "
        + ClassWeighting.allCases.map(\.rawValue).joined(separator: ", ") + ".",
      valueName: "name"))
  var classWeights = ClassWeighting.none.rawValue

  @Flag(
    inversion: .prefixedNo,
    help: ArgumentHelp(
      "Add \(AuxiliaryHead.weight) times the loss of a second head in the middle of the network."))
  var auxHead = false

  /// - Throws: `ABNError(.name)` that names the nearest.
  func apply(to settings: inout TrainingSettings) throws {
    settings.segmentationLoss = try SegmentationLossKind(named: loss)
    settings.usesAuxiliaryHead = auxHead
    settings.classWeighting = try ClassWeighting.named(classWeights, as: "--class-weights")
    guard settings.data.hasMasks else {
      let isGiven =
        settings.segmentationLoss != .crossEntropy || settings.classWeighting != .none
        || auxHead
      return try requireNone(isGiven, "--loss, --class-weights or --aux-head", settings)
    }
  }
}

/// Refuses what only data with masks have.
func requireNone(_ isGiven: Bool, _ what: String, _ settings: TrainingSettings) throws {
  guard isGiven else { return }
  throw ABNError(
    .attribute, what, got: "data \(quoted(settings.data.description)), without masks",
    wanted: DataSource.forms.filter { form in
      (try? DataSource.parse(form))?.hasMasks == true
    }.joined(separator: ", "), fix: "Leave it out.")
}

/// Numbers with commas between them.
func numbers<Number: LosslessStringConvertible>(
  _ text: String, _ option: String, wanted: String
) throws -> [Number] {
  try text.split(separator: ",", omittingEmptySubsequences: false).map { word in
    guard let number = Number(String(word)) else {
      throw ABNError(.attribute, option, got: quoted(text), wanted: wanted)
    }
    return number
  }
}

/// `360x480`, height first, or `360` for a square.
func pictureSize(_ text: String, _ option: String) throws -> PictureSize {
  let sides = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
  guard (1...2).contains(sides.count), let height = sides[0], let width = sides[sides.count - 1]
  else {
    throw ABNError(
      .attribute, option, got: quoted(text), wanted: "height and width as 360x480, or one number")
  }
  return PictureSize(height: height, width: width)
}
