import ArgumentParser
import Foundation
import InPlaceABN

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains a network that classifies or segments, and saves it.",
    discussion: """
      Writes model.safetensors and summary.json into the output folder, the best model into best, \
      checkpoints, log.csv, settings.yaml, TensorBoard's events, and a page about it all, \
      report.html. Ctrl-C stops after the current \
      step and writes a checkpoint, from which --resume goes on bit for bit; a second one ends at \
      once. The same settings, seed and number of threads give the same weights.
      """)

  @Option(
    help: ArgumentHelp(
      "Options from a YAML file, by their names without dashes; those of the command line win.",
      valueName: "file"))
  var config: String?

  @Option(
    help: ArgumentHelp(
      "What to train on: \(DataSource.forms.joined(separator: ", ")); DIR holds the gzipped or "
        + "plain IDX files of MNIST, the .bin files of CIFAR, pictures in a folder for each class, "
        + "pictures and masks.",
      valueName: "source"))
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
      "Images a step, or auto for what --memory-budget allows; default: \(byData { "\($0.batchSize)" }).",
      valueName: "count"))
  var batchSize: String?

  @Option(
    name: .customLong("lr"), parsing: .unconditional,
    help: ArgumentHelp(
      "The highest learning rate; default: \(byData { "\($0.learningRate)" }).",
      valueName: "rate"))
  var learningRate: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "L2 decay added to the gradient, of adamw and lamb apart from it; default: \(byData { "\($0.weightDecay)" }).",
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

  @Flag(
    help: "Look for a learning rate instead: print it, and draw the loss over it as lr-find.svg.")
  var lrFind = false

  @OptionGroup(title: "Pictures") var pictures: PictureOptions

  @OptionGroup(title: "Segmentation") var segmentation: SegmentationOptions

  @OptionGroup(title: "Optimizer") var optimization: OptimizationOptions

  @OptionGroup(title: "Run") var runs: RunOptions

  @OptionGroup var place: DeviceOptions

  @OptionGroup var common: CommonOptions

  func run() throws {
    try common.apply()
    var settings: TrainingSettings
    do {
      settings = try self.settings()
    } catch let error as ABNError {
      throw error.namingOption
    }
    let backend = try place.backend()
    if lrFind { return try findLearningRate(settings, backend) }
    let made = try folder(for: &settings)
    noteDataFolder(settings)
    let (summary, hadEnded): (TrainingSummary, Bool)
    do {
      (summary, hadEnded) = try trained(settings, backend)
    } catch {
      made?.removeIfEmpty()
      throw error
    }
    if let trouble = made?.becomeLatest() { writeError("note: \(trouble)\n") }
    // A run that had ended is left as it is.
    let report = runs.report && !hadEnded ? writeReport(settings.output) : nil
    try show(summary, report: report)
    if summary.interrupted { throw ExitCode(130) }
  }

  /// What the options say.
  private func settings() throws -> TrainingSettings {
    var settings = TrainingSettings(
      data: try DataSource.parse(data), model: try Model.named(model),
      output: output ?? RunFolder.parent)
    settings.norm = try normalization.style()
    settings.activation = try ModelOptions.activation(named: activation)
    settings.epochs = epochs ?? settings.epochs
    if batchSize == "auto" {
      (settings.fitsBatch, settings.batchSize) = (true, Self.mostOfAutomaticBatch)
    } else if let batchSize {
      guard let number = Int(batchSize) else {
        throw ABNError(
          .attribute, "--batch-size", got: quoted(batchSize), wanted: "a number, or auto")
      }
      settings.batchSize = number
    }
    settings.learningRate = learningRate ?? settings.learningRate
    settings.weightDecay = weightDecay ?? settings.weightDecay
    settings.seed = seed
    try pictures.apply(to: &settings)
    try segmentation.apply(to: &settings)
    try optimization.apply(to: &settings)
    try runs.apply(to: &settings)
    guard !(existing.overwrite && resume) else {
      throw ABNError(
        .attribute, "--resume", got: "--overwrite beside it", wanted: "one of the two",
        fix: "--resume goes on with the run that is there, --overwrite begins anew in its place.")
    }
    settings.existing = existing.overwrite ? .overwritten : resume ? .resumed : .refused
    try settings.validate()
    return settings
  }

  /// Larger batches need other learning rates than any default.
  private static let mostOfAutomaticBatch = 1024

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
  ) throws -> (TrainingSummary, hadEnded: Bool) {
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
      settings, backend: backend, isInterrupted: { Interruption.isRequested })
    trainer.note = { writeError("note: \($0)\n") }
    trainer.keepsReport = runs.report
    trainer.observers = [
      line,
      SettingsFile(
        of: Self.self,
        others: [
          "device": place.device, "precision": place.precision, "report": "\(runs.report)",
        ],
        versions: SettingsRecord.versions(backend: backend)),
      CSVLog(), TensorBoardLog(),
    ]
    if common.json {
      // Who reads the lines may have gone: that asks to stop, as Ctrl-C does.
      signal(SIGPIPE, SIG_IGN)
      trainer.observers.append(
        JSONLines { text in
          if (try? printNow(text)) == nil { Interruption.request() }
        })
    }
    return (try trainer.run(), trainer.hadEnded)
  }

  private func findLearningRate(_ settings: TrainingSettings, _ backend: any Backend) throws {
    let path = (output.map { $0 + "/" } ?? "") + "lr-find.svg"
    if !existing.overwrite, FileIdentity(path) != nil {
      throw ABNError(
        .file, "plot \(quoted(path))", got: "a file that is there already", wanted: "a new file",
        fix: "Replace it with --overwrite, or choose another folder with --output.")
    }
    if let output { try Folder.make(output) }
    Interruption.install(notice: "stopping after this step\n")
    let trainer = Trainer(settings, backend: backend)
    trainer.note = { writeError("note: \($0)\n") }
    let finder = try trainer.findLearningRate(LearningRateFinder())
    guard !Interruption.isRequested else { throw ExitCode(130) }
    guard !finder.points.isEmpty else {
      throw ABNError(
        .data, "--lr-find", got: "no step with a finite loss", wanted: "at least one",
        fix: "Look at the data: abn data check.")
    }
    try AtomicFile.write(LearningRatePlot(finder).svg, to: path)
    if common.json {
      let points = finder.points.map { JSON.array([.number($0.rate), .number($0.loss)]) }
      print(
        JSON.object([
          ("suggestion", finder.suggestion.map { .number($0) } ?? .null),
          ("plot", .string(path)), ("points", .array(points)),
        ]).line)
    } else {
      let rate = finder.suggestion.map { String(format: "%.3g", $0) }
      print(
        "learning rate  \(rate ?? "none: the loss does not fall by more than its noise; larger batches have less")\nplot           \(path)"
      )
    }
  }

  /// Writes the page about a run that has ended; a run is no worse where that fails.
  ///
  /// - Returns: its path; nil where it was not written.
  private func writeReport(_ folder: String) -> String? {
    let path = "\(folder)/\(RunFiles.reportName)"
    do {
      _ = try Report.write([Report.run(in: folder)], to: path)
      return path
    } catch {
      writeError("note: no report: \(error)\n")
      return nil
    }
  }

  private func show(_ summary: TrainingSummary, report: String?) throws {
    if common.json {
      guard case .object(let members) = try JSON(encoding: summary) else { return }
      let page = report.map { [("report", JSON.string($0))] } ?? []
      print(JSON.object([("event", .string("summary"))] + members + page).line)
    } else {
      let what = summary.settings["overfit"] == nil ? "held-out" : "trained"
      func row(_ name: String, _ value: String) -> String {
        name.padding(toLength: 19, withPad: " ", startingAt: 0) + value
      }
      print(
        """
        \(row("\(what) \(summary.metric == nil ? "accuracy" : "mean IoU")", summary.accuracy.map { String(format: "%.2f %%", $0 * 100) } ?? "not evaluated"))
        \(row("\(what) loss", summary.loss.map { String(format: "%.4f", $0) } ?? "not evaluated"))
        time               \(String(format: "%.1f s, %.0f images/s", summary.seconds, summary.imagesPerSecond))
        planned peak       \(describeBytes(summary.plannedPeakBytes)), \
        of which \(describeBytes(summary.plannedStepBytes)) for a step
        measured peak      \(describeBytes(summary.measuredPeakBytes)), \
        of which \(describeBytes(summary.baseBytes)) before the first step
        best               \(best(summary))
        saved              \(summary.modelPath)\(summary.interrupted ? " (interrupted)" : "")
        """)
      if let report { print("report             \(report)") }
    }
  }
}

/// The best epoch, and where its weights are.
private func best(_ summary: TrainingSummary) -> String {
  guard let accuracy = summary.bestAccuracy, let epoch = summary.bestEpoch else {
    return "not evaluated"
  }
  return String(format: "%.2f %% after epoch %d", accuracy * 100, epoch)
}

/// A line of standard output that is there at once.
private func printNow(_ text: String) throws {
  print(text, terminator: "")
  guard fflush(nil) == 0 else {
    throw ABNError(
      .system, "standard output", got: String(cString: strerror(errno)),
      wanted: "success in writing a line")
  }
}

/// A default that depends on the data, as the help says it: `30 (digits), 5 (mnist)`.
private func byData(_ value: (TrainingSettings) -> String) -> String {
  let sources: [(String, DataSource)] = [
    ("digits", .digits), ("mnist", .mnist(directory: ".")), ("cifar10", .cifar10(directory: ".")),
    ("folder", .folder(directory: ".")),
  ]
  return sources.map { name, source in
    "\(value(TrainingSettings(data: source, model: .mlp, output: "."))) (\(name))"
  }.joined(separator: ", ")
}
