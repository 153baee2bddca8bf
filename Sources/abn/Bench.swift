import ArgumentParser
import Foundation
import InPlaceABN

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures what the engine promises.",
    subcommands: [BenchMemory.self, BenchLayer.self])
}

struct BenchMemory: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Trains a few steps on random images: planned against measured peak memory.")

  @Option(help: ArgumentHelp("The network, one of those that abn models lists.", valueName: "name"))
  var model = "resnet20"

  @Option(help: ArgumentHelp("inplace or standard normalization.", valueName: "style"))
  var norm = "inplace"

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 128

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Height and width of the images; default: the model's.", valueName: "pixels"))
  var imageSize: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Channels of the images; default: the model's.", valueName: "count"))
  var channels: Int?

  @Option(parsing: .unconditional, help: ArgumentHelp("Steps to train.", valueName: "count"))
  var steps = 3

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    let network = try Model.named(model)
    let size = imageSize ?? network.image[1]
    let result = try measureMemory(
      of: network, norm: NormStyle.named(norm),
      image: Shape([channels ?? network.image[0], size, size]), batchSize: batchSize, steps: steps)
    if common.json {
      try printJSON(result)
    } else {
      print(
        """
        \(model), \(norm), \(batchSize) images of \(size) x \(size)
        planned peak   \(describeBytes(result.plannedPeakBytes))
        measured peak  \(describeBytes(result.measuredPeakBytes - result.baseBytes)) \
        above a base of \(describeBytes(result.baseBytes))
        lower bound    \(describeBytes(result.lowerBoundBytes)) of an arena of \
        \(describeBytes(result.arenaBytes))
        """)
    }
  }
}
