import ABNFormats
import ABNInspection
import ABNTensors
import ABNTraining
import Foundation

/// The report of a run, or of several side by side: one page that needs no other file.
package struct ReportPage: Sendable {
  /// The page.
  package let text: String

  /// A page is no larger than this.
  package static let mostBytes = 5_000_000
  /// The most runs that are compared.
  package static let mostRuns = 40

  /// A page of one run has all of it; one of several has curves and tables of these.
  ///
  /// - Parameters:
  ///   - version: of the command.
  ///   - written: when, as ISO 8601 has it.
  /// - Throws: `ABNError(.attribute)` for no run, or more than `mostRuns`.
  package init(_ runs: [RunReport], version: String, written: String) throws {
    guard (1...Self.mostRuns).contains(runs.count) else {
      throw ABNError(
        .attribute, "report", got: "\(runs.count) runs", wanted: "1...\(Self.mostRuns) runs",
        fix: "Name fewer runs.")
    }
    let comparison = RunComparison(runs.map(\.overview))
    let ordered = comparison.runs.compactMap { run in
      runs.first { $0.overview.folder == run.folder }
    }
    let title =
      ordered.count == 1 ? "\(ordered[0].overview.name): a report of abn" : "\(runs.count) runs"
    // Of several runs the curves are what the page draws.
    let details = RunReport.Detail.allCases.reversed().filter {
      ordered.count == 1 || $0 == .curves
    }
    var page = ""
    for detail in details {
      page = Self.page(
        title,
        .object([
          ("title", .string(title)), ("version", .string(version)), ("written", .string(written)),
          ("differing", .array(comparison.differing.map { .string($0) })),
          ("runs", .array(ordered.map { $0.json(detail) })),
        ]))
      if page.utf8.count <= Self.mostBytes { break }
    }
    text = page
  }

  private static func page(_ title: String, _ data: JSON) -> String {
    func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    let scripts = [
      PackageResources.parts_js, PackageResources.chart_js, PackageResources.classes_js,
      PackageResources.costs_js, PackageResources.compare_js, PackageResources.report_js,
    ].map(text)
    return HTMLPage.filled(
      text(PackageResources.report_html),
      [
        "title": HTMLPage.escaped(title),
        "style": text(PackageResources.report_css) + PlanDrawing.style, "data": data.line,
        "script": ([PlanDrawing.script] + scripts).joined(separator: "\n"),
      ])
  }

  /// Writes the page.
  ///
  /// - Parameter replacing: whether a file that is no report is replaced; a report is anyway.
  /// - Throws: `ABNError(.file)` where there is such a file, or the page cannot be written.
  package func write(to path: String, replacing: Bool = false) throws {
    var status = stat()
    if !replacing, stat(path, &status) == 0, !RunFiles.isReport(path) {
      throw ABNError(
        .file, "report \(quoted(path))", got: "another file that is there already",
        wanted: "a new file, or a report that is replaced",
        fix: "Choose another name with --output, or replace it with --overwrite.")
    }
    try AtomicFile.write(text, to: path)
  }
}
