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
    var made: RunFolder?
    if let output {
      try existing.requireFree(folder: output)
    } else {
      let folder = try RunFolder(model: settings.model, data: settings.data)
      (made, settings.output) = (folder, folder.path)
      writeError("run \(folder.path)\n")
    }
    if case let directory? = settings.data.directory, !directory.hasPrefix("/"),
      settings.data.absolute == settings.data
    {
      writeError(
        "note: the model will say \(quoted(settings.data.description)), as the current folder's name is no text in UTF-8; "
          + "from another folder give abn eval the data with --data\n")
    }
    let mayReplace = output == nil || existing.overwrite
    let summary: TrainingSummary
    do {
      summary = try trained(
        settings, backend,
        otherFolder: mayReplace
          ? nil
          : {
            let folder = try RunFolder(model: settings.model, data: settings.data)
            made = folder
            return folder.path
          })
    } catch {
      made?.removeIfEmpty()
      throw error
    }
    if let trouble = made?.becomeLatest() { writeError("note: \(trouble)\n") }
    try show(summary)
    if let made, let output {
      throw ABNError(
        .file, "output \(quoted(output))", got: "a model that another run has saved there since",
        wanted: "a folder without a model", fix: "This run's model is in \(quoted(made.path)).")
    }
    if summary.interrupted { throw ExitCode(130) }
  }

  private func trained(
    _ settings: TrainingSettings, _ backend: any Backend, otherFolder: (() throws -> String)?
  ) throws -> TrainingSummary {
    // A line of progress may stand there, and the terminal shows ^C behind it.
    Interruption.install(
      notice: isatty(2) == 1
        ? "\r\u{1B}[Kstopping after this step, then saving; Ctrl-C again ends now, without saving\n"
        : "stopping after this step, then saving; a second signal ends now, without saving\n")
    let line = ProgressLine()
    // An error, too, begins on a line of its own.
    defer { line.finish() }
    return try Trainer(
      settings, backend: backend, report: { line.show($0) },
      isInterrupted: { Interruption.isRequested }, otherFolder: otherFolder
    ).run()
  }

  private func show(_ summary: TrainingSummary) throws {
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
