import ArgumentParser
import Foundation
import InPlaceABN

struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Evaluates a saved model on held-out data.")

  @Argument(help: "The output folder of abn train.")
  var folder = "runs/latest"

  @Option(
    help: ArgumentHelp(
      "What to evaluate on: \(DataSource.forms.joined(separator: ", ")); default: what the model "
        + "was trained on.", valueName: "source"))
  var data: String?

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 128

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    guard batchSize >= 1 else {
      throw ABNError(.attribute, "--batch-size", got: "\(batchSize)", wanted: "at least 1")
    }
    let result = try evaluateModel(
      in: folder, data: data.map(DataSource.parse), batchSize: batchSize, backend: place.backend())
    if common.json {
      try printJSON(result)
    } else {
      print(
        String(
          format: "accuracy %.2f %%  loss %.4f  on %d images", result.accuracy * 100, result.loss,
          result.count))
    }
  }
}
