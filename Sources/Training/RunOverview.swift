import ABNFormats
import ABNModelFiles
import ABNTensors
import Foundation

/// What a run's folder tells of the run, whether it has ended or not.
package struct RunOverview: Sendable, Encodable {
  /// How far a run is.
  package enum State: String, Sendable, Encodable {
    /// It has ended by itself.
    case ended
    /// It was asked to stop, and can go on.
    case interrupted
    /// It runs, or was killed.
    case unfinished
  }

  /// The folder.
  package let folder: String
  package private(set) var state = State.unfinished
  package private(set) var model, data: String?
  /// Whole passes done, and those that it was to do.
  package private(set) var epochsDone = 0
  package private(set) var epochs: Int?
  /// The best accuracy on the held-out data, or mean IoU of a segmentation, and its pass, from 1;
  /// the last one and the loss.
  package private(set) var bestAccuracy: Double?
  package private(set) var bestEpoch: Int?
  package private(set) var accuracy, loss: Double?
  package private(set) var seconds, imagesPerSecond: Double?
  package private(set) var plannedPeakBytes, measuredPeakBytes: Int?
  /// The settings, by their names on the command line.
  package private(set) var settings: [String: String]

  /// Whether a folder holds a run: a summary or a log.
  package static func isRun(_ folder: String) -> Bool {
    [TrainingSummary.name, CSVLog.name].contains {
      FileManager.default.fileExists(atPath: "\(folder)/\($0)")
    }
  }

  /// Reads `summary.json` and `log.csv`; of a run that goes on, the summary of its first part may
  /// be older than the log.
  ///
  /// - Parameter settings: those of a run without a summary.
  /// - Throws: `ABNError(.file)` for a folder with neither, or with one that cannot be read.
  package init(folder: String, settings: [String: String] = [:]) throws {
    (self.folder, self.settings) = (folder, settings)
    guard Self.isRun(folder) else {
      throw ABNError(
        .file, "folder \(quoted(folder))",
        got: "neither \(TrainingSummary.name) nor \(CSVLog.name)",
        wanted: "the folder of a run")
    }
    if FileManager.default.fileExists(atPath: "\(folder)/\(TrainingSummary.name)") {
      read(try TrainingSummary.read(path: "\(folder)/\(TrainingSummary.name)"))
    }
    if FileManager.default.fileExists(atPath: "\(folder)/\(CSVLog.name)") {
      read(try CSVTable.read(path: "\(folder)/\(CSVLog.name)"))
    }
    (model, data) = (self.settings["model"], self.settings["data"])
    epochs = self.settings["epochs"].flatMap { Int($0) }
  }

  private mutating func read(_ summary: TrainingSummary) {
    state = summary.interrupted ? .interrupted : .ended
    epochsDone = summary.epochsDone
    (bestAccuracy, bestEpoch) = (summary.bestAccuracy ?? summary.accuracy, summary.bestEpoch)
    (accuracy, loss) = (summary.accuracy, summary.loss)
    (seconds, imagesPerSecond) = (summary.seconds, summary.imagesPerSecond)
    plannedPeakBytes = summary.plannedPeakBytes
    measuredPeakBytes = summary.measuredPeakBytes
    settings.merge(summary.settings) { $1 }
  }

  private mutating func read(_ log: CSVTable) {
    func numbers(_ name: String) -> [Double?] { log.column(name)?.map { Double($0) } ?? [] }
    let passes = numbers("epoch")
    guard let last = passes.last??.rounded(), last < 1e15 else { return }
    let accuracies =
      ["accuracy", SegmentationMetrics.name].lazy
      .map { numbers(CSVLog.validationPrefix + $0) }.first { !$0.isEmpty } ?? []
    let best = accuracies.indices.filter { accuracies[$0] != nil && passes[$0] != nil }
      .max { accuracies[$0]! < accuracies[$1]! || (accuracies[$0]! == accuracies[$1]! && $0 > $1) }
    if let best, accuracies[best]! >= bestAccuracy ?? 0 || bestEpoch == nil {
      (bestAccuracy, bestEpoch) = (accuracies[best], Int(passes[best]!))
    }
    guard Int(last) > epochsDone || seconds == nil else { return }
    if seconds != nil { state = .unfinished }
    epochsDone = Int(last)
    accuracy = accuracies.last ?? nil
    loss = numbers(CSVLog.validationPrefix + "loss").last ?? nil
    seconds = numbers("seconds").reduce(0) { $0 + ($1 ?? 0) }
    imagesPerSecond = numbers("images_per_second").last ?? nil
  }

  /// The last part of the folder's path.
  package var name: String {
    let path = folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    return path.split(separator: "/").last.map(String.init) ?? folder
  }
}

/// Runs side by side.
package struct RunComparison: Sendable, Encodable {
  /// By what they are put in order.
  package enum Order: String, CaseIterable, Sendable {
    /// The best or the last accuracy, the highest first.
    case best, last
    /// The last loss, the lowest first.
    case loss
    /// The shortest time, the most pictures a second.
    case time, speed
    case name
  }

  /// The runs, in order.
  package let runs: [RunOverview]
  /// The settings that are not the same in all of them, in the order of their names.
  package let differing: [String]

  /// What is no setting of what is computed.
  private static let ofTheRun: Set = [
    "output", "resume", "overwrite", "config", "json", "report",
  ]

  package init(_ runs: [RunOverview], order: Order = .best) {
    self.runs = runs.enumerated().sorted {
      let (first, second) = (Self.key($0.element, order), Self.key($1.element, order))
      if first != second { return first < second }
      return ($0.element.name, $0.offset) < ($1.element.name, $1.offset)
    }.map(\.element)
    let names = Set(runs.flatMap(\.settings.keys)).subtracting(Self.ofTheRun)
    differing = names.filter { name in Set(runs.map { $0.settings[name] }).count > 1 }.sorted()
  }

  /// The lowest comes first; what is not known comes last.
  private static func key(_ run: RunOverview, _ order: Order) -> Double {
    let value: Double? =
      switch order {
      case .best: run.bestAccuracy.map(-)
      case .last: run.accuracy.map(-)
      case .loss: run.loss
      case .time: run.seconds
      case .speed: run.imagesPerSecond.map(-)
      case .name: 0
      }
    return value.map { $0.isNaN ? .infinity : $0 } ?? .infinity
  }

  private static let heads = [
    ("epochs", 11), ("best", 8), ("last", 8), ("loss", 8), ("time", 8), ("images/s", 8),
    ("planned", 7), ("peak", 7),
  ]

  /// Several lines, each with a line break, none longer than so many columns (40 at least): of each
  /// run its name, network, data and the settings in which it differs, and below them its numbers.
  package func text(columns: Int = 80) -> String {
    let columns = max(40, columns)
    let heads = Self.heads.map { TerminalText.fitted($0.0, to: $0.1, isAlignedRight: true) }
    var lines = ["run", heads.joined(separator: " ")]
    for run in runs {
      lines += Self.wrapped(words(of: run), columns: columns)
      let cells = zip(numbers(of: run), Self.heads).map {
        TerminalText.fitted($0, to: $1.1, isAlignedRight: true)
      }
      lines.append(cells.joined(separator: " "))
    }
    return lines.map { TerminalText.prefix($0, columns: columns) + "\n" }.joined()
  }

  private func words(of run: RunOverview) -> [String] {
    let settings = differing.filter { !["model", "data", "epochs"].contains($0) }
      .map { "\($0) \(run.settings[$0] ?? "-")" }
    let state = run.state == .ended ? [] : ["(\(run.state.rawValue))"]
    return [run.name] + state + [run.model ?? "?", run.data ?? "?"] + settings
  }

  /// Words two spaces apart, the lines after the first indented; a word that has no room in a line
  /// is cut in its middle.
  private static func wrapped(_ words: [String], columns: Int) -> [String] {
    var lines: [String] = []
    for word in words {
      let text = DisplayText.line(word)
      let indent = lines.isEmpty ? "" : "  "
      let room = columns - indent.count
      let short =
        TerminalText.columns(of: text) > room ? TerminalText.fitted(text, to: room) : text
      if let last = lines.last,
        TerminalText.columns(of: last) + 2 + TerminalText.columns(of: short) <= columns
      {
        lines[lines.count - 1] = last + "  " + short
      } else {
        lines.append(indent + short)
      }
    }
    return lines
  }

  private func numbers(of run: RunOverview) -> [String] {
    func percent(_ share: Double?) -> String {
      share.map { String(format: "%.2f %%", $0 * 100) } ?? "-"
    }
    return [
      "\(run.epochsDone)" + (run.epochs.map { "/\($0)" } ?? ""), percent(run.bestAccuracy),
      percent(run.accuracy), run.loss.map { String(format: "%.4f", $0) } ?? "-",
      run.seconds.map { TrainingProgress.clock(Int(min(max($0, 0), 1e9).rounded())) } ?? "-",
      run.imagesPerSecond.map { String(format: "%.0f", $0) } ?? "-",
      Self.bytes(run.plannedPeakBytes), Self.bytes(run.measuredPeakBytes),
    ]
  }

  /// `12.1M`: in few columns.
  private static func bytes(_ count: Int?) -> String {
    count.map { describeBytes($0).replacing("iB", with: "").replacing(" ", with: "") } ?? "-"
  }
}
