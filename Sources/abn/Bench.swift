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

  @Option(parsing: .unconditional, help: ArgumentHelp("Steps to train.", valueName: "count"))
  var steps = 3

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    let (model, style) = (try network.chosenModel(), try network.style())
    let size = network.size(for: model)
    let result = try measureMemory(
      of: model, norm: style, image: Shape([channels ?? model.image[0], size, size]),
      batchSize: batchSize, steps: steps, backend: place.backend())
    if common.json {
      try printJSON(result)
    } else {
      print(
        """
        \(model.name), \(style.rawValue), \(batchSize) images of \(size) x \(size)
        planned peak   \(describeBytes(result.plannedPeakBytes))
        measured peak  \(describeBytes(result.measuredPeakBytes - result.baseBytes)) \
        above a base of \(describeBytes(result.baseBytes))
        lower bound    \(describeBytes(result.lowerBoundBytes)) of an arena of \
        \(describeBytes(result.arenaBytes))
        """)
    }
  }
}
