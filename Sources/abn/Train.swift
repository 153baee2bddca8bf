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

  @Option(help: "What to train on: \(DataSource.forms.joined(separator: ", ")).")
  var data = "digits"

  @Option(help: "The network: \(Model.all.map(\.name).joined(separator: ", ")).")
  var model = "lenet"

  @Option(help: "inplace or standard normalization.")
  var norm = "inplace"

  @Option(help: "The activation after a normalization.")
  var activation = "leaky_relu"

  @Option(help: "Passes over the training data; default by data.")
  var epochs: Int?

  @Option(help: "Images a step; default by data.")
  var batchSize: Int?

  @Option(name: .customLong("lr"), help: "The highest learning rate; default by data.")
  var learningRate: Double?

  @Option(help: "Momentum of the optimizer, in 0..<1.")
  var momentum = 0.9

  @Option(help: "L2 decay added to the gradient; default by data.")
  var weightDecay: Double?

  @Option(help: "Decides weights, order and augmentation.")
  var seed: UInt64 = 0

  @Option(help: "The folder for the model and the summary.")
  var output = "runs/latest"

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    var settings = TrainingSettings(
      data: try DataSource.parse(data), model: try Model.named(model), output: output)
    settings.norm = try NormStyle.named(norm)
    settings.activation = try Activation(named: activation).validated()
    settings.epochs = epochs ?? settings.epochs
    settings.batchSize = batchSize ?? settings.batchSize
    settings.learningRate = learningRate ?? settings.learningRate
    settings.momentum = momentum
    settings.weightDecay = weightDecay ?? settings.weightDecay
    settings.seed = seed

    Interruption.install()
    let line = ProgressLine()
    let summary = try Trainer(settings) { line.show($0) }.run()
    line.finish()
    if common.json {
      print(try summary.json(), terminator: "")
    } else {
      print(
        """
        held-out accuracy  \(String(format: "%.2f %%", summary.accuracy * 100))
        held-out loss      \(String(format: "%.4f", summary.loss))
        time               \(String(format: "%.1f s, %.0f images/s", summary.seconds, summary.imagesPerSecond))
        planned peak       \(describeBytes(summary.plannedPeakBytes))
        measured peak      \(describeBytes(summary.measuredPeakBytes)), \
        of which \(describeBytes(summary.baseBytes)) before the first step
        model              \(summary.modelPath)
        """)
    }
    if summary.interrupted { throw ExitCode(130) }
  }
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

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
