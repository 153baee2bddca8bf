import ABNFormats
import ABNModelFiles
import ABNTensors
import ABNTraining
import Foundation

/// One run as a report shows it, read from the files in its folder.
///
/// What a folder does not have is left out, with the reason in `missing`.
package struct RunReport: Sendable {
  /// The numbers of a table of runs.
  package let overview: RunOverview
  /// All of it, as the page's script takes it: see `Sources/Reporting/README.md`.
  package private(set) var json: JSON
  /// Why a part cannot be shown, by the part.
  package private(set) var missing: [String: String] = [:]

  /// The most rows of a log that are drawn: more than a screen has columns.
  static let mostRows = 1000
  /// The same beside other runs.
  static let mostComparedRows = 300

  /// Reads a run's folder.
  ///
  /// - Parameters:
  ///   - settings: those beside the results, for a run without a summary.
  ///   - record: the text of the file with them, whose comments say the command and the versions;
  ///     nil where there is none.
  /// - Throws: `ABNError(.file)` for a folder without a run, and for a `summary.json` or `log.csv`
  ///   that is damaged.
  package init(folder: String, settings: [String: String] = [:], record: String? = nil) throws {
    overview = try RunOverview(folder: folder, settings: settings)
    json = .object([("name", .string(overview.name)), ("overview", try JSON(encoding: overview))])
    try readSummary(folder)
    try readLogs(folder)
    readEvaluations(folder)
    readProfile(folder)
    readRecord(record, folder)
  }

  private mutating func set(_ name: String, _ value: JSON) { json = json.setting(name, value) }

  private mutating func readSummary(_ folder: String) throws {
    let path = "\(folder)/\(TrainingSummary.name)"
    let summary =
      FileManager.default.fileExists(atPath: path) ? try TrainingSummary.read(path: path) : nil
    // Of a run that goes on, the summary is that of its first part.
    if overview.state != .unfinished, let reason = summary?.stopReason {
      set("reason", .string(reason))
    }
    if let times = summary?.times, overview.state != .unfinished {
      set("times", try JSON(encoding: times))
    } else {
      missing["times"] =
        summary == nil
        ? "The run has no \(TrainingSummary.name): it goes on, or was killed."
        : "The run's \(TrainingSummary.name) does not say where its time went."
    }
  }

  private mutating func readLogs(_ folder: String) throws {
    func table(_ name: String) throws -> JSON? {
      let path = "\(folder)/\(name)"
      guard FileManager.default.fileExists(atPath: path) else { return nil }
      return Self.columns(try CSVTable.read(path: path))
    }
    if let log = try table(CSVLog.name) {
      set("log", log)
    } else {
      missing["log"] = "The run has no \(CSVLog.name)."
    }
    if let steps = try? table(CSVLog.stepsName) { set("steps", steps) }
  }

  /// The columns of a table by their names, as numbers; of many rows some, the last among them.
  static func columns(_ table: CSVTable) -> JSON {
    let rows = some(of: table.rows.count, most: mostRows)
    return .object(
      table.columns.enumerated().map { place, name in
        (
          name,
          .array(rows.map { row in Double(table.rows[row][place]).map { .number($0) } ?? .null })
        )
      })
  }

  /// About `most` of so many rows, at equal distances, the first and the last among them.
  private static func some(of count: Int, most: Int) -> [Int] {
    let every = max(1, (count + most - 1) / most)
    return (0..<count).filter { ($0 + 1) % every == 0 || $0 == count - 1 || $0 == 0 }
  }

  private static func thinned(_ column: JSON, to most: Int) -> JSON {
    guard let cells = column.elements else { return column }
    return .array(some(of: cells.count, most: most).map { cells[$0] })
  }

  /// A file of the folder that holds JSON; nil, and the reason, where there is none.
  private mutating func file(
    _ name: String, in folder: String, for part: String, otherwise: String
  ) -> JSON? {
    let path = "\(folder)/\(name)"
    guard FileManager.default.fileExists(atPath: path) else {
      missing[part] = otherwise
      return nil
    }
    do {
      return try JSON.read(path: path, kind: "file")
    } catch {
      missing[part] = "\(name) cannot be read: \(error)"
      return nil
    }
  }

  private mutating func readEvaluations(_ folder: String) {
    func none(_ name: String) -> String {
      "The run has no \(name): it has completed no epoch, or was trained with --no-report or by an older version."
    }
    if let best = file(
      RunFiles.bestName, in: folder, for: "predictions", otherwise: none(RunFiles.bestName))
    {
      set("best", best)
      let shown = (best["groups"]?.elements ?? []).flatMap { $0["items"]?.elements ?? [] }
      if shown.isEmpty { missing["predictions"] = "No picture of the predictions could be read." }
    }
    if let metrics = file(
      RunFiles.metricsName, in: folder, for: "metrics", otherwise: none(RunFiles.metricsName))
    {
      set("metrics", metrics)
    }
  }

  private mutating func readProfile(_ folder: String) {
    let why =
      "The run has no \(RunFiles.profileName): it goes on, was killed, or was trained with --no-report."
    guard
      let profile = file(RunFiles.profileName, in: folder, for: "profile", otherwise: why)
    else { return }
    set("profile", profile)
    if profile["plans"]?.elements?.count == 1 {
      missing["otherPlan"] = "There is no plan with the other normalization to compare with."
    }
  }

  /// The comments of `settings.yaml`: versions, the time of the start in the first of them, and the
  /// command.
  private mutating func readRecord(_ record: String?, _ folder: String) {
    guard let record else {
      missing["record"] =
        "The run has no \(RunFiles.settingsName), which says the command and the versions."
      return
    }
    var versions: [String] = []
    let mark = "command: "
    for line in record.split(separator: "\n") where line.hasPrefix("# ") {
      let text = line.dropFirst(2)
      guard !text.hasPrefix(mark) else {
        set("command", .string(String(text.dropFirst(mark.count))))
        break
      }
      versions.append(String(text))
    }
    if let time = versions.first?.split(separator: " ").last {
      set("started", .string(String(time)))
    }
    set("versions", .array(versions.map { .string($0) }))
    let path = DisplayText.line("\(folder)/\(RunFiles.settingsName)")
    set("repeat", .string("abn train --config \(path)"))
  }

  /// As the page takes it.
  ///
  /// - Parameter detail: what is left out of a page that would be too large.
  func json(_ detail: Detail) -> JSON {
    var (json, missing) = (json, missing)
    if detail < .all, let profile = json["profile"] {
      let plans = profile["plans"]?.elements ?? []
      json = json.setting(
        "profile",
        profile.setting("plans", .array(plans.map { $0.setting("timeline", nil) })))
      missing["timelines"] = "The plans' pictures are left out: the page would be too large."
    }
    if detail < .numbersAndPictures {
      let metrics = json["best"]?["metrics"]
      json = json.setting("best", .object([("metrics", metrics ?? .null)]))
      missing["predictions"] = "The pictures are left out: the page would be too large."
    }
    if detail < .numbers {
      for name in ["best", "metrics", "profile", "steps"] { json = json.setting(name, nil) }
      if case .object(let log) = json["log"] {
        json = json.setting(
          "log", .object(log.map { ($0.name, Self.thinned($0.value, to: Self.mostComparedRows)) }))
      }
      for name in ["predictions", "metrics", "profile"] {
        missing[name] = "This part is left out: the page would be too large."
      }
    }
    return json.setting(
      "missing",
      .object(missing.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
  }

  /// How much of a run a page has.
  enum Detail: Int, CaseIterable, Comparable {
    case curves, numbers, numbersAndPictures, all

    static func < (a: Detail, b: Detail) -> Bool { a.rawValue < b.rawValue }
  }
}
