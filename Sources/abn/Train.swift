import ArgumentParser
import Foundation
import InPlaceABN

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains a classifier and saves it.",
    discussion: """
      Writes model.safetensors and summary.json into the output folder. Ctrl-C stops after the \
      current step and saves; a second one ends at once, without saving. The same settings, seed and number of threads give the same weights.
      """)

  @Option(
    help: ArgumentHelp(
      "Options from a YAML file, by their names without dashes; those of the command line win.",
      valueName: "file"))
  var config: String?

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
      "The folder for the model and the summary, made if absent; default: a new one for each run, "
        + "runs/DATE-MODEL-DATA-NUMBER, to which runs/latest leads.", valueName: "folder"))
  var output: String?

  @OptionGroup var existing: OverwriteOption

  @Flag(help: "Go on with the run in the output folder, from its last checkpoint, bit for bit.")
  var resume = false

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    var settings = TrainingSettings(
      data: try DataSource.parse(data), model: try Model.named(model),
      output: output ?? RunFolder.parent)
    settings.norm = try normalization.style()
    settings.activation = try ModelOptions.activation(named: activation)
    settings.epochs = epochs ?? settings.epochs
    settings.batchSize = batchSize ?? settings.batchSize
    settings.learningRate = learningRate ?? settings.learningRate
    settings.momentum = momentum
    settings.weightDecay = weightDecay ?? settings.weightDecay
    settings.seed = seed

    try settings.validate()
    let backend = try place.backend()
    settings.existing = existing.overwrite ? .overwritten : resume ? .resumed : .refused
    let made = try folder(for: &settings)
    noteDataFolder(settings)
    let summary: TrainingSummary
    do {
      summary = try trained(settings, backend)
    } catch {
      made?.removeIfEmpty()
      throw error
    }
    if let trouble = made?.becomeLatest() { writeError("note: \(trouble)\n") }
    try show(summary)
    if summary.interrupted { throw ExitCode(130) }
  }

  /// The folder of a run that was given none.
  private func folder(for settings: inout TrainingSettings) throws -> RunFolder? {
    if output != nil { return nil }
    guard !resume else {
      throw ABNError(
        .attribute, "--resume", got: "no folder", wanted: "the folder of a run",
        fix: "Say which: --output DIR; the last one is \(RunFolder.latest).")
    }
    let made = try RunFolder(model: settings.model, data: settings.data)
    settings.output = made.path
    writeError("run \(made.path)\n")
    return made
  }

  private func noteDataFolder(_ settings: TrainingSettings) {
    guard case let directory? = settings.data.directory, !directory.hasPrefix("/"),
      settings.data.absolute == settings.data
    else { return }
    writeError(
      "note: the model will say \(quoted(settings.data.description)), as the current folder's name is no text in UTF-8; "
        + "from another folder give abn eval the data with --data\n")
  }

  private func trained(
    _ settings: TrainingSettings, _ backend: any Backend
  ) throws -> TrainingSummary {
    // A line of progress may stand there, and the terminal shows ^C behind it.
    Interruption.install(
      notice: isatty(2) == 1
        ? "\r\u{1B}[Kstopping after this step, then writing a checkpoint; Ctrl-C again ends now, without one\n"
        : "stopping after this step, then writing a checkpoint; a second signal ends now, without one\n"
    )
    let line = ProgressLine.onStandardError()
    // An error, too, begins on a line of its own.
    defer { line.finish() }
    let trainer = Trainer(
      settings, backend: backend, report: { line.show($0) },
      isInterrupted: { Interruption.isRequested })
    trainer.note = { writeError("note: \($0)\n") }
    return try trainer.run()
  }

  private func show(_ summary: TrainingSummary) throws {
    if common.json {
      print(try summary.json(), terminator: "")
    } else {
      print(
        """
        held-out accuracy  \(summary.accuracy.map { String(format: "%.2f %%", $0 * 100) } ?? "not evaluated")
        held-out loss      \(summary.loss.map { String(format: "%.4f", $0) } ?? "not evaluated")
        time               \(String(format: "%.1f s, %.0f images/s", summary.seconds, summary.imagesPerSecond))
        planned peak       \(describeBytes(summary.plannedPeakBytes)), \
        of which \(describeBytes(summary.plannedStepBytes)) for a step
        measured peak      \(describeBytes(summary.measuredPeakBytes)), \
        of which \(describeBytes(summary.baseBytes)) before the first step
        saved              \(summary.modelPath)\(summary.interrupted ? " (interrupted)" : "")
        """)
    }
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
