import ArgumentParser
import Foundation
import InPlaceABN

struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Writes the report of a run as a page, or one that compares several.",
    discussion: """
      One file that needs no other and no network: curves, classes, the best and the worst \
      predictions, where memory and time go, the settings. abn train writes it at the end of a run; \
      this writes it anew from the run's files. Of several runs: their curves in one picture, \
      results, and the settings that differ.
      """)

  @Argument(help: "Folders of runs, or folders with such folders.")
  var folders = [RunFolder.latest]

  @Option(
    help: ArgumentHelp(
      "The page; default: report.html in the run's folder, of several runs in this one.",
      valueName: "file.html"))
  var output: String?

  @Flag(help: "Replace a file that is no report.")
  var overwrite = false

  @Flag(help: "Print the result as JSON on standard output.")
  var json = false

  func run() throws {
    let runs = try RunFolders.read(folders, Self.run)
    var folder = runs.count == 1 ? runs[0].overview.folder : ""
    if !folder.isEmpty, !folder.hasSuffix("/") { folder += "/" }
    let path = output ?? folder + RunFiles.reportName
    let bytes = try Self.write(runs, to: path, replacing: overwrite)
    if json {
      let missing = Set(runs.flatMap(\.missing.values)).sorted()
      print(
        JSON.object([
          ("report", .string(path)), ("bytes", .integer(bytes)),
          ("runs", .array(runs.map { .string($0.overview.folder) })),
          ("missing", .array(missing.map { .string($0) })),
        ]).line)
    } else {
      print("\(path), \(describeBytes(bytes))")
    }
  }

  /// What a run's folder has for its report. A link, `runs/latest` for one, is called as what it
  /// leads to.
  static func run(in path: String) throws -> RunReport {
    var folder = path
    if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path) {
      let parent = path.lastIndex(of: "/").map { path[...$0] } ?? ""
      folder = target.hasPrefix("/") ? target : parent + target
    }
    return try RunReport(
      folder: folder, settings: RunFolders.settings(in: folder),
      record: RunFolders.record(in: folder))
  }

  /// - Returns: the bytes of the page.
  static func write(_ runs: [RunReport], to path: String, replacing: Bool = false) throws -> Int {
    try requireResult(path, isNoneOf: [])
    let page = try ReportPage(
      runs, version: ABN.configuration.version, written: Date.now.ISO8601Format())
    try page.write(to: path, replacing: replacing)
    return page.text.utf8.count
  }
}
