import ArgumentParser
import Foundation
import InPlaceABN

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures what the engine promises.", subcommands: [BenchMemory.self])
}

struct BenchMemory: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Trains a few steps on random images: planned against measured peak memory.")

  @Option(help: "The network.")
  var model = "resnet20"

  @Option(help: "inplace or standard normalization.")
  var norm = "inplace"

  @Option(help: "Images a step.")
  var batchSize = 128

  @Option(help: "Height and width of the images.")
  var imageSize = 32

  @Option(help: "Channels of the images.")
  var channels = 3

  @Option(help: "Steps to train.")
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
