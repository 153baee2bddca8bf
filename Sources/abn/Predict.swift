import ArgumentParser
import InPlaceABN

struct Predict: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs a saved model on an array of images.",
    discussion: """
      The images are float32 [N, C, height, width] as the network sees them in training: \
      (stored byte - mean) / deviation, by channel, with the mean and deviation in the model's \
      metadata. The result is float32: logits [N, classes], or [N, classes, height, width] of a \
      network that segments.
      """)

  @Argument(help: "The model's folder.")
  var folder: String

  @Option(help: ArgumentHelp("The images, .npy.", valueName: "file"))
  var input: String

  @Option(help: ArgumentHelp("The logits, .npy.", valueName: "file"))
  var output: String

  @Flag(
    help: "Normalize with mean and variance of these images, as a training step does.")
  var batchStatistics = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The threads to use; default: all cores.", valueName: "count"))
  var threads: Int?

  func run() throws {
    try setThreads(threads)
    let file = try ModelFile.read(folder: folder)
    let logits = try file.logits(
      of: NPY.read(input), statistics: batchStatistics ? .batch : .moving, folder: folder)
    try NPY.write(logits, to: output)
  }
}
