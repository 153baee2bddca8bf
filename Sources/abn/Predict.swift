import ArgumentParser
import InPlaceABN

struct Predict: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says what a saved model takes pictures for, or runs it on an array of images.",
    discussion: """
      Pictures are JPEG or PNG files of any size. Each is resized, cut and normalized as the model's \
      metadata say, and its likeliest classes are printed with their probabilities; --json prints one \
      line of JSON for each picture.

      Of a network that segments the shares of the classes are printed, and --output and --overlay write \
      the class of each pixel as a PNG mask, and the classes' colours upon the picture. For several \
      pictures, or a folder of them, these are folders.

      With --input and --output an array of images is taken instead: float32 [N, C, height, width] as \
      the network sees them in training, (stored byte - mean) / deviation, by channel, with the mean and \
      deviation in the model's metadata. Images of another size than the model was made for are taken \
      where the network can, and a note on standard error says so. The result is float32: logits \
      [N, classes], or [N, classes, height, width] of a network that segments.
      """)

  @Argument(help: "The model's folder, or its file.")
  var folder: String

  @Argument(help: "Pictures, JPEG or PNG, or folders of them.")
  var pictures: [String] = []

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("How many of the likeliest classes are shown.", valueName: "count"))
  var top = 5

  @Flag(help: "Print the predictions as JSON on standard output, a line a picture.")
  var json = false

  @Flag(help: "Go on after a picture that cannot be read; each is named on standard error.")
  var skipBroken = false

  @Option(help: ArgumentHelp("The images, .npy.", valueName: "file"))
  var input: String?

  @Option(
    help: ArgumentHelp(
      "The logits, .npy; of pictures that are segmented the mask, .png, or a folder for masks.",
      valueName: "file"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "The picture under the colours of its classes, .png, or a folder for such pictures.",
      valueName: "file"))
  var overlay: String?

  @OptionGroup var existing: SheetOverwrite

  @OptionGroup var views: ViewOptions

  @Flag(
    help: "Normalize with mean and variance of these images, as a training step does.")
  var batchStatistics = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The threads to use; default: all cores.", valueName: "count"))
  var threads: Int?

  @OptionGroup var place: DeviceOptions

  func run() throws {
    try setThreads(threads)
    guard top >= 1 else { throw ABNError(.attribute, "--top", got: "\(top)", wanted: "at least 1") }
    guard pictures.isEmpty else {
      guard input == nil, !batchStatistics else {
        throw ABNError(
          .attribute, "abn predict", got: "pictures and --input or --batch-statistics",
          wanted: "pictures, or an array", fix: "Leave one of them out.")
      }
      let file = try ModelFile.read(folder: folder)
      if try file.segments {
        return try PictureSegmenting(
          file, folder: folder, outputs: .init(masks: output, overlays: overlay), json: json,
          skipsBroken: skipBroken, overwrites: existing.overwrite
        ).run(pictures, view: views.view(), backend: place.backend())
      }
      guard output == nil, overlay == nil, !views.isGiven else {
        throw ABNError(
          .attribute, "abn predict",
          got: "--output, --overlay or another option of networks that segment",
          wanted: "pictures alone: \(file.model.name) classifies them", fix: "Leave it out.")
      }
      return try classify(file)
    }
    guard let input, let output else {
      throw ABNError(
        .attribute, "abn predict", got: "no pictures",
        wanted: "pictures, or an array of images with --input and --output")
    }
    try runArray(input, output)
  }

  /// Prints what each picture is taken for.
  private func classify(_ file: ModelFile) throws {
    let classifier = try Classifier(file, folder: folder, backend: place.backend())
    let paths = try pictures.flatMap(PictureFolder.pictures)
    try forEachReadable(paths, skipsBroken: skipBroken) { path in
      let prediction = try classifier.predict(path: path, count: top)
      if json {
        print(try JSON(encoding: prediction).line)
      } else {
        let guesses = prediction.guesses.map {
          "\(DisplayText.line($0.name)) \(String(format: "%.1f %%", $0.probability * 100))"
        }
        print("\(DisplayText.line(path)): \(guesses.joined(separator: ", "))")
      }
    }
  }

  private func runArray(_ input: String, _ output: String) throws {
    try requireResult(output, isNoneOf: [input, ModelFile.path(of: folder)])
    let file = try ModelFile.read(folder: folder)
    let images = try NPY.read(input)
    let logits = try file.logits(
      of: images, statistics: batchStatistics ? .batch : .moving, folder: folder,
      backend: place.backend())
    let (height, width) = (file.image[1], file.image[2])
    if images.shape[2] != height || images.shape[3] != width {
      writeError(
        "note: images of \(images.shape[2]) x \(images.shape[3]); the model was made for "
          + "\(height) x \(width)\n")
    }
    try NPY.write(logits, to: output)
  }
}

/// Calls `body` for each picture; with `skipsBroken` those that cannot be read are named and passed
/// over.
///
/// - Throws: what `body` throws; `ABNError(.data)` where none can be read.
func forEachReadable<Item>(
  _ pictures: [Item], skipsBroken: Bool, _ body: (Item) throws -> Void
) throws {
  var broken = 0
  for picture in pictures {
    do {
      try body(picture)
    } catch let error as ABNError where skipsBroken && error.category == .file {
      broken += 1
      writeError("note: passed over: \(error)\n")
    }
  }
  guard broken < pictures.count else {
    throw ABNError(
      .data, "pictures", got: "\(broken) that cannot be read", wanted: "at least one that can")
  }
}
