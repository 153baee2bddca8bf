import ArgumentParser
import Foundation
import InPlaceABN

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains a classifier and saves it.",
    discussion: """
      Writes model.safetensors and summary.json into the output folder. Ctrl-C stops after the \
      current step and saves. The same settings, seed and number of threads give the same weights.
      """)

  @Option(
    help: ArgumentHelp(
      "What to train on: \(DataSource.forms.joined(separator: ", ")); DIR holds the gzipped or "
        + "plain IDX files of MNIST, or the .bin files of CIFAR-10.", valueName: "source"))
  var data = "digits"

  @Option(help: ArgumentHelp("The network, one of those that abn models lists.", valueName: "name"))
  var model = "lenet"

  @OptionGroup var normalization: NormOption

  @Option(help: ArgumentHelp("The activation after a normalization.", valueName: "name"))
  var activation = "leaky_relu"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Passes over the training data; default: \(byData { "\($0.epochs)" }).", valueName: "count"))
  var epochs: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Images a step; default: \(byData { "\($0.batchSize)" }).", valueName: "count"))
  var batchSize: Int?

  @Option(
    name: .customLong("lr"), parsing: .unconditional,
    help: ArgumentHelp(
      "The highest learning rate; default: \(byData { "\($0.learningRate)" }).",
      valueName: "rate"))
  var learningRate: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Momentum of the optimizer, in 0..<1.", valueName: "number"))
  var momentum = 0.9

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "L2 decay added to the gradient; default: \(byData { "\($0.weightDecay)" }).",
      valueName: "number"))
  var weightDecay: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Decides weights, order and augmentation: 0 or more.", valueName: "number"))
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp(
      "The folder for the model and the summary; made if absent.", valueName: "folder"))
  var output = "runs/latest"

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    var settings = TrainingSettings(
      data: try DataSource.parse(data), model: try Model.named(model), output: output)
    settings.norm = try normalization.style()
    settings.activation = try Activation(named: activation).validated()
    settings.epochs = epochs ?? settings.epochs
    settings.batchSize = batchSize ?? settings.batchSize
    settings.learningRate = learningRate ?? settings.learningRate
    settings.momentum = momentum
    settings.weightDecay = weightDecay ?? settings.weightDecay
    settings.seed = seed

    Interruption.install()
    let line = ProgressLine()
    let summary: TrainingSummary
    do {
      // An error, too, begins on a line of its own.
      defer { line.finish() }
      summary = try Trainer(settings) { line.show($0) }.run()
    }
    if common.json {
      print(try summary.json(), terminator: "")
    } else {
      print(
        """
        held-out accuracy  \(String(format: "%.2f %%", summary.accuracy * 100))
        held-out loss      \(String(format: "%.4f", summary.loss))
        time               \(String(format: "%.1f s, %.0f images/s", summary.seconds, summary.imagesPerSecond))
        planned peak       \(describeBytes(summary.plannedPeakBytes)), \
        of which \(describeBytes(summary.plannedStepBytes)) for a step
        measured peak      \(describeBytes(summary.measuredPeakBytes)), \
        of which \(describeBytes(summary.baseBytes)) before the first step
        saved              \(summary.modelPath)\(summary.interrupted ? " (interrupted)" : "")
        """)
    }
    if summary.interrupted { throw ExitCode(130) }
  }
}

/// A default that depends on the data, as the help says it: `30 (digits), 5 (mnist)`.
private func byData(_ value: (TrainingSettings) -> String) -> String {
  let sources: [(String, DataSource)] = [
    ("digits", .digits), ("mnist", .mnist(directory: ".")), ("cifar10", .cifar10(directory: ".")),
  ]
  return sources.map { name, source in
    "\(value(TrainingSettings(data: source, model: .mlp, output: "."))) (\(name))"
  }.joined(separator: ", ")
}

/// One line on standard error that is written over on a terminal; elsewhere a line an epoch.
final class ProgressLine {
  private let isTerminal = isatty(2) == 1
  private var last = ContinuousClock.now - .seconds(1)
  private var isOpen = false

  func show(_ progress: TrainingProgress) {
    if progress.isEndOfEpoch {
      write((isTerminal ? "\r\u{1B}[K" : "") + progress.line + "\n")
      isOpen = false
    } else if isTerminal, last.duration(to: .now) >= .milliseconds(100) {
      last = .now
      write("\r\u{1B}[K" + progress.line)
      isOpen = true
    }
  }

  func finish() {
    if isOpen { write("\n") }
  }

  private func write(_ text: String) { writeError(text) }
}
