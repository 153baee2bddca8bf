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
    help: ArgumentHelp("Height and width of the images.", valueName: "pixels"))
  var imageSize = 32

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Channels of the images.", valueName: "count"))
  var channels = 3

  @Option(parsing: .unconditional, help: ArgumentHelp("Steps to train.", valueName: "count"))
  var steps = 3

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    let result = try measureMemory(
      of: Model.named(model), norm: NormStyle.named(norm),
      image: Shape([channels, imageSize, imageSize]), batchSize: batchSize, steps: steps)
    if common.json {
      try printJSON(result)
    } else {
      print(
        """
        \(model), \(norm), \(batchSize) images of \(imageSize) x \(imageSize)
        planned peak   \(describeBytes(result.plannedPeakBytes))
        measured peak  \(describeBytes(result.measuredPeakBytes - result.baseBytes)) \
        above a base of \(describeBytes(result.baseBytes))
        lower bound    \(describeBytes(result.lowerBoundBytes)) of an arena of \
        \(describeBytes(result.arenaBytes))
        """)
    }
  }
}
