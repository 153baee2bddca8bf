import ArgumentParser
import InPlaceABN

struct Predict: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs a saved model on an array of images.",
    discussion: """
      The images are float32 [N, C, height, width] as the network sees them in training: \
      (stored byte - mean) / deviation, by channel, with the mean and deviation in the model's \
      metadata. Images of another size than the model was made for are taken where the network can, \
      and a note on standard error says so. The result is float32: logits [N, classes], or [N, classes, height, width] of a \
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

  @OptionGroup var place: DeviceOptions

  func run() throws {
    try setThreads(threads)
    try requireResult(output, isNoneOf: [input, folder + "/" + ModelFile.name])
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
