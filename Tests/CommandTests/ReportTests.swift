import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// The report that `abn train` writes and `abn report` writes anew.
@Suite(.serialized) struct ReportTests {
  /// A run's page in the browser: light, and dark on a phone.
  @Test func theReportOfARun() throws {
    let place = try Workplace()
    let run = try place.abn(
      "train", "--model", "lenet", "--epochs", "3", "--lr", "0.02", "--output", "runs/one")
    #expect(run.status == 0 && !run.errors.contains("note"), "\(run.errors)")
    #expect(run.output.contains("report             runs/one/report.html"), "\(run.output)")
    let page = String(decoding: try place.data("runs/one/report.html"), as: UTF8.self)
    #expect(page.utf8.count < 1_500_000 && page.hasPrefix(RunFiles.reportMark))
    #expect(!page.contains("https:") && !page.contains(/(src|href)="(?!data:|#)/))
    let best = try object(place.data("runs/one/best.json"))
    let groups = try #require(best["groups"] as? [[String: Any]])
    let items = groups.flatMap { $0["items"] as? [[String: Any]] ?? [] }
    for (width, isDark) in [(1100, false), (360, true)] {
      guard let found = try PageInspection.look(page, width: width, isDark: isDark) else { return }
      let text = try #require(found["text"] as? String)
      for part in [
        "lenet on digits", "held-out accuracy after epoch", "Class by class", "Most often confused",
        "Wrong, and most sure", "in-place layer", "standard layer", "waiting for data",
        "By kind of operation", "To run it again", "abn train --config runs/one/settings.yaml",
        "3 of 3",
      ] { #expect(text.contains(part), "\(part)") }
      #expect(!text.contains("cannot be shown"), "\(text)")
      #expect(found["images"] as? Int == items.count && items.count > 12)
      #expect(found["charts"] as? Int ?? 0 >= 5 && found["plans"] as? Int == 2)
      #expect(found["focusable"] as? Int ?? 0 > 12)
      let said = try #require(found["said"] as? [String])
      #expect(
        said.count == 3 && said[0].hasPrefix("epoch 1: training ") && said[2].hasPrefix("epoch 3: ")
      )
      #expect((found["plan"] as? String)?.contains(" alive") == true)
      #expect(found["page"] as? String == (isDark ? "rgb(22, 24, 26)" : "rgb(251, 251, 250)"))
    }
  }

  /// Runs side by side, and a run that went on: its curves have all epochs.
  @Test func severalRuns() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "runs/a", "--lr", "0.05").status == 0)
    #expect(try place.train("--output", "runs/b", "--lr", "0.1", "--no-report").status == 0)
    #expect(!place.files("runs/b").contains { RunFiles.reportName == $0 || $0 == "best.json" })
    #expect(
      try place.abn("train", "--output", "runs/b", "--resume", "--epochs", "3").status == 0)
    let made = try place.abn("report", "runs", "--json")
    #expect(made.status == 0 && made.errors.isEmpty, "\(made.errors)")
    #expect(try made.json()["report"] as? String == "report.html")
    let page = String(decoding: try place.data("report.html"), as: UTF8.self)
    guard let found = try PageInspection.look(page, width: 360, isDark: false) else { return }
    let text = try #require(found["text"] as? String)
    for part in ["2 runs", "Results", "Settings that differ", "lr", "0.05", "Held-out loss"] {
      #expect(text.contains(part), "\(part)\n\(text)")
    }
    #expect(found["charts"] as? Int == 8)
    #expect((found["said"] as? [String])?.last?.hasPrefix("epoch 3: ") == true)
  }

  /// Written anew from the files; what is missing is said, and what is another file stays.
  @Test func writtenAnew() throws {
    let place = try Workplace()
    #expect(try place.train("--output", "run", "--no-report").status == 0)
    #expect(!place.files("run").contains(RunFiles.reportName))
    let made = try place.abn("report", "run", "--output", "page.html", "--json")
    let missing = try #require(try made.json()["missing"] as? [String])
    #expect(missing.contains { $0.contains("profile.json") }, "\(missing)")
    let page = String(decoding: try place.data("page.html"), as: UTF8.self)
    if let found = try PageInspection.look(page, width: 700, isDark: true) {
      let text = try #require(found["text"] as? String)
      for part in missing { #expect(text.contains(part), "\(part)") }
      #expect(text.contains("Class by class") && !text.contains("cannot be shown"))
    }
    try place.write("mine.html", Array("<p>mine".utf8))
    let refused = try place.abn("report", "run", "--output", "mine.html")
    #expect(refused.status == 1 && refused.errorLines.count == 1, "\(refused.errors)")
    #expect(refused.errors.contains("mine.html") && refused.errors.contains("--overwrite"))
    #expect(try place.data("mine.html") == Data("<p>mine".utf8))
    #expect(try place.abn("report", "run", "--output", "mine.html", "--overwrite").status == 0)
    let nothing = try place.abn("report", "nowhere")
    #expect(nothing.status == 1 && nothing.errors.contains("nowhere"), "\(nothing.errors)")
  }

  /// A report that cannot be written is no failure of the run.
  @Test func noReportNoFailure() throws {
    let place = try Workplace()
    try place.write("run/report.html/notes", [1])
    let run = try place.train("--output", "run")
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.errorLines.last?.hasPrefix("note: no report: ") == true, "\(run.errors)")
    #expect(!run.output.contains("report.html"))
    try place.write("other/report.html", Array("mine".utf8))
    let other = try place.train("--output", "other")
    #expect(other.status == 0 && other.errors.contains("another file"), "\(other.errors)")
    #expect(try place.data("other/report.html") == Data("mine".utf8))
  }
}
