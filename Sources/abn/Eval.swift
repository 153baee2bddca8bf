import ArgumentParser
import Foundation
import InPlaceABN

struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Evaluates a saved model on held-out data.",
    discussion: """
      Prints the shares of pictures whose class is the likeliest and among the five likeliest, \
      precision and recall of each class, and of few classes what they were taken for. With --json \
      the same for programs: accuracy, top5, loss, count, classes, confusion.

      Of a network that segments: mean IoU, the share of pixels that are right, boundary F, and IoU of \
      each class, over all held-out pictures at their full size; with --json meanIoU, pixelAccuracy, \
      boundaryF, loss, count, pixels, classes, confusion.
      """)

  @Argument(help: "The output folder of abn train, or a model file.")
  var folder = "runs/latest"

  @Option(
    help: ArgumentHelp(
      "What to evaluate on: \(DataSource.forms.joined(separator: ", ")); default: what the model "
        + "was trained on.", valueName: "source"))
  var data: String?

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 128

  @Flag(help: "Leave out pictures that cannot be read, and count them.")
  var skipBroken = false

  @OptionGroup var views: ViewOptions

  @OptionGroup var masks: MaskOptions

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    guard batchSize >= 1 else {
      throw ABNError(.attribute, "--batch-size", got: "\(batchSize)", wanted: "at least 1")
    }
    var options = DataOptions()
    options.skipsBroken = skipBroken
    let source = try data.map(DataSource.parse)
    if try source?.hasMasks ?? ModelFile.read(folder: folder).segments {
      return try segment(source, options)
    }
    guard !views.isGiven, masks.classFile == nil, masks.ignoreIndex == nil else {
      throw ABNError(
        .attribute, "abn eval", got: "options of networks that segment",
        wanted: "a network that segments, as unet does", fix: "Leave them out.")
    }
    let report = try reportOnModel(
      in: folder, data: source, options: options, batchSize: batchSize,
      backend: place.backend())
    if common.json {
      try printJSON(report)
    } else {
      let metrics = report.metrics
      print(
        String(
          format: "accuracy %.2f %%  loss %.4f  on %d images", metrics.accuracy * 100,
          metrics.meanLoss, metrics.count))
      print("\n" + report.text(), terminator: "")
    }
  }

  private func segment(_ source: DataSource?, _ given: DataOptions) throws {
    var options = given
    try masks.apply(to: &options)
    let report = try reportOnSegmentation(
      in: folder, data: source, options: options, view: views.view(), backend: place.backend())
    if common.json {
      try printJSON(report)
    } else {
      print(report.text(), terminator: "")
    }
  }
}
