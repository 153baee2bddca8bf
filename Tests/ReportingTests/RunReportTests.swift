import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNReporting

/// Reports of folders as training leaves them, whole and in part.
@Suite struct RunReportTests {
  /// A folder that goes away with the value.
  final class Place {
    let path = FileManager.default.temporaryDirectory.path + "/abn-report-\(UUID().uuidString)"

    init() throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws {
      let url = URL(filePath: "\(path)/\(name)")
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }

    func text(_ name: String) throws -> String {
      try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8)
    }
  }

  static func log(_ rows: Int) -> String {
    "epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate,seconds,is_best\n"
      + (1...rows).map { epoch in
        let loss = 2 / Double(epoch), rate = 0.1 / Double(epoch)
        return "\(epoch),\(10 * epoch),\(loss),,\(loss + 0.1),\(1 - loss / 2.5),\(rate),1.5,1\n"
      }.joined()
  }

  static func page(_ runs: [RunReport]) throws -> ReportPage {
    try ReportPage(runs, version: "1", written: "2026-11-27T10:00:00Z")
  }

  /// The data of a page, as its script gets them.
  static func data(_ page: ReportPage) throws -> [String: Any] {
    let start = try #require(page.text.range(of: "const data = ")).upperBound
    let line = page.text[start...].prefix { $0 != "\n" }.dropLast()
    return try #require(
      JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }

  static func run(_ data: [String: Any], _ number: Int = 0) throws -> [String: Any] {
    try #require((data["runs"] as? [[String: Any]])?[number])
  }

  @Test func aLogAloneIsARun() throws {
    let place = try Place()
    try place.write("r/log.csv", Self.log(3))
    let report = try RunReport(folder: place.path + "/r")
    let run = try Self.run(Self.data(Self.page([report])))
    let log = try #require(run["log"] as? [String: Any])
    #expect(log["epoch"] as? [Int] == [1, 2, 3])
    // An empty cell is a number that there is not.
    #expect((log["train_accuracy"] as? [Any])?.allSatisfy { $0 is NSNull } == true)
    let missing = try #require(run["missing"] as? [String: String])
    #expect(
      Set(missing.keys) == ["times", "predictions", "metrics", "profile", "record"], "\(missing)")
    #expect(missing.values.allSatisfy { $0.hasSuffix(".") && !$0.contains("\n") })
  }

  @Test func theRecordSaysCommandAndVersions() throws {
    let place = try Place()
    try place.write("r/log.csv", Self.log(1))
    let record = """
      # abn 0.1.0, 2026-11-27T10:11:12Z
      # Linux, backend cpu, threads 2
      # command: abn train --model 'a b'
      # To run it again: abn train --config settings.yaml
      model: lenet

      """
    let report = try RunReport(
      folder: place.path + "/r", settings: ["model": "lenet"], record: record)
    let run = try Self.run(Self.data(Self.page([report])))
    #expect(run["started"] as? String == "2026-11-27T10:11:12Z")
    #expect(run["command"] as? String == "abn train --model 'a b'")
    #expect((run["versions"] as? [String])?.count == 2)
    #expect((run["repeat"] as? String)?.hasSuffix("/r/settings.yaml") == true)
  }

  @Test func damagedFilesAreNamedAndTheRestIsShown() throws {
    let place = try Place()
    try place.write("r/log.csv", Self.log(2))
    for name in ["best.json", "metrics.json", "profile.json"] {
      try place.write("r/\(name)", "{\"a\":")
    }
    let report = try RunReport(folder: place.path + "/r")
    for (part, name) in [
      ("predictions", "best.json"), ("metrics", "metrics.json"), ("profile", "profile.json"),
    ] {
      #expect(report.missing[part]?.contains(name) == true, "\(part): \(report.missing)")
    }
    #expect(throws: ABNError.self) { try RunReport(folder: place.path + "/nothing") }
    // Predictions without a picture that could still be read.
    try place.write("r/best.json", #"{"epoch":1,"groups":[{"title":"t","items":[]}]}"#)
    let none = try RunReport(folder: place.path + "/r")
    #expect(none.missing["predictions"]?.hasPrefix("No picture") == true, "\(none.missing)")
  }

  /// Names from outside end no script and fill no place of the page.
  @Test func textsAreNoPartOfThePage() throws {
    let place = try Place()
    try place.write("r/log.csv", Self.log(1))
    try place.write(
      "r/best.json", #"{"epoch":1,"groups":[{"title":"</script><script>x()","items":[]}]}"#)
    let report = try RunReport(
      folder: place.path + "/r", settings: ["model": "</script>{{style}}", "data": "<!-- a"])
    let page = try Self.page([report])
    #expect(page.text.components(separatedBy: "</script>").count == 2)
    let run = try Self.run(Self.data(page))
    let settings = (run["overview"] as? [String: Any])?["settings"] as? [String: String]
    #expect(settings?["model"] == "</script>{{style}}")
    #expect(!page.text.contains("http:") && !page.text.contains("https:"))
    #expect(!page.text.contains(/src="(?!data:)/))
    #expect(page.text.hasPrefix(RunFiles.reportMark))
  }

  /// What is too large is left out part by part, and the page says so.
  @Test func thePageStaysSmall() throws {
    let place = try Place()
    try place.write("r/log.csv", Self.log(20_000))
    let uri = "data:image/png;base64," + String(repeating: "A", count: 300_000)
    let item = #"{"name":"p","pictures":[{"name":"picture","uri":"\#(uri)","isCoarse":false}]}"#
    let items = Array(repeating: item, count: 20).joined(separator: ",")
    try place.write(
      "r/best.json", #"{"epoch":1,"groups":[{"title":"t","isRight":true,"items":[\#(items)]}]}"#)
    let report = try RunReport(folder: place.path + "/r")
    let page = try Self.page([report])
    #expect(page.text.utf8.count <= ReportPage.mostBytes)
    let run = try Self.run(Self.data(page))
    let missing = try #require(run["missing"] as? [String: String])
    #expect(missing["predictions"]?.contains("too large") == true)
    let epochs = try #require((run["log"] as? [String: Any])?["epoch"] as? [Int])
    #expect(epochs.count <= 1001 && epochs.first == 1 && epochs.last == 20_000)
    // Forty of them side by side stay small too.
    let many = try Self.page(Array(repeating: report, count: ReportPage.mostRuns))
    #expect(many.text.utf8.count <= ReportPage.mostBytes)
    #expect(throws: ABNError.self) {
      try Self.page(Array(repeating: report, count: ReportPage.mostRuns + 1))
    }
  }

  @Test func anotherFileIsNotReplaced() throws {
    let place = try Place()
    try place.write("r/log.csv", Self.log(1))
    let page = try Self.page([RunReport(folder: place.path + "/r")])
    let path = place.path + "/page.html"
    try place.write("page.html", "<!doctype html><p>mine")
    let error = #expect(throws: ABNError.self) { try page.write(to: path) }
    for word in ["page.html", "another file", "--overwrite"] {
      #expect("\(error!)".contains(word), "\(error!)")
    }
    #expect(try place.text("page.html") == "<!doctype html><p>mine")
    try page.write(to: path, replacing: true)
    // A report is replaced by a report.
    try page.write(to: path)
    #expect(try place.text("page.html") == page.text)
  }
}
