import ArgumentParser
import Foundation
import InPlaceABN

struct BenchConvolutions: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convolutions",
    abstract: "Times convolutions of ResNet-50 alone on a card, by the library's fastest engines.",
    discussion: """
      Random data, medians by the card's clock. The error is the largest difference from a kernel \
      that follows the formula, over the root mean square of its results.
      """)

  @Option(parsing: .unconditional, help: ArgumentHelp("Images a step.", valueName: "count"))
  var batchSize = 128

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    guard place.isCard else {
      throw ABNError(
        .unsupported, "--device", got: place.device, wanted: "a card",
        fix: "Add --device cuda; abn bench model has the processor's convolutions.")
    }
    guard (1...1 << 16).contains(batchSize) else {
      throw ABNError(.attribute, "--batch-size", got: "\(batchSize)", wanted: "1...65536")
    }
    let timings = try measureConvolutions(
      device: place.ordinal(), precision: place.chosenPrecision(), batch: batchSize)
    if common.json { return try printJSON(timings) }
    for timing in timings {
      print(
        String(
          format: "%7.3f ms %6.1f TFLOP/s  engine %3d  workspace %9@  error %.1e  ",
          timing.milliseconds, timing.teraflops, timing.engine,
          describeBytes(timing.workspaceBytes) as NSString, timing.error)
          + "\(timing.product) \(timing.shape)")
    }
  }
}
