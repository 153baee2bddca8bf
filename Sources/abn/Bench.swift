import ArgumentParser
import Foundation
import InPlaceABN

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures what the engine promises.",
    subcommands: [
      BenchModel.self, BenchMemory.self, BenchLayer.self, BenchAdam.self, BenchConvolutions.self,
      BenchData.self,
    ])
}

struct BenchMemory: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Trains a few steps on random images: planned against measured peak memory.")

  @OptionGroup var network: NetworkOptions

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 128

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Channels of the images; default: the model's.", valueName: "count"))
  var channels: Int?

  @OptionGroup var classes: ClassesOption

  @Option(parsing: .unconditional, help: ArgumentHelp("Steps to train.", valueName: "count"))
  var steps = 3

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    let (model, style) = (try network.chosenModel(), try network.style())
    var image = try network.image(for: model)
    if let channels { image[0] = channels }
    let result = try measureMemory(
      of: model, norm: style, image: image, batchSize: batchSize, steps: steps,
      classes: classes.count(for: model), backend: place.backend())
    if common.json {
      try printJSON(result)
    } else {
      print(
        """
        \(model.name), \(style.rawValue), \(batchSize) images of \(image[1]) x \(image[2])
        planned peak   \(describeBytes(result.plannedPeakBytes))
        measured peak  \(describeBytes(result.measuredPeakBytes - result.baseBytes)) \
        above a base of \(describeBytes(result.baseBytes))
        lower bound    \(describeBytes(result.lowerBoundBytes)) of an arena of \
        \(describeBytes(result.arenaBytes))
        """)
    }
  }
}
