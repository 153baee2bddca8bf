import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// `abn runs`, on folders as training leaves them.
@Suite struct RunsTests {
  private func write(_ place: Workplace, _ name: String, _ text: String) throws {
    try place.write(name, Array(text.utf8))
  }

  private func summary(
    _ place: Workplace, _ folder: String, accuracy: Double, best: (Double, Int)? = nil,
    lr: String = "0.1", data: String = "digits", interrupted: Bool = false
  ) throws {
    let more = best.map { #", "bestAccuracy": \#($0.0), "bestEpoch": \#($0.1)"# } ?? ""
    try write(
      place, "\(folder)/summary.json",
      """
      {"accuracy": \(accuracy), "loss": 0.25, "seconds": 3725.4, "imagesPerSecond": 1234.5,
       "plannedPeakBytes": 12688818, "plannedStepBytes": 5, "measuredPeakBytes": 2147483648,
       "baseBytes": 7, "seed": 0, "interrupted": \(interrupted), "epochsDone": 30,
       "modelPath": "x", "settings": {"lr": "\(lr)", "model": "mlp", "data": "\(data)",
       "epochs": "30", "output": "\(folder)", "norm": "inplace"}\(more)}
      """)
  }

  private let log = """
    epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,seconds,images_per_second
    1,10,1.5,0.5,0.5,0.71,2.5,100
    2,20,0.5,0.9,0.4,0.9,2.5,110
    3,30,0.4,0.95,0.3,0.88,2.5,120

    """

  private func make(_ place: Workplace) throws {
    try summary(place, "runs/b", accuracy: 0.5, best: (0.95, 7))
    try summary(
      place, "runs/a", accuracy: 0.97, lr: "0.2",
      data: "cifar10:" + String(repeating: "d", count: 90))
    try write(place, "runs/killed/log.csv", log)
    try write(
      place, "runs/killed/settings.yaml",
      "# versions\nmodel: resnet20\ndata: digits\nepochs: 300\nlr: 0.1\nnorm: inplace\nfreeze: [a, b]\n"
    )
    try write(place, "runs/notes/readme.txt", "no run")
    try FileManager.default.createSymbolicLink(
      atPath: place.path + "/runs/latest", withDestinationPath: "b")
  }

  @Test func table() throws {
    let place = try Workplace()
    try make(place)
    let run = try place.abn("runs")
    #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
    let lines = run.output.split(separator: "\n").map(String.init)
    #expect(lines.allSatisfy { $0.count <= 80 }, "\(run.output)")
    let text = run.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(
      text.hasPrefix(
        "run epochs best last loss time images/s planned peak a mlp cifar10:ddd"), "\(run.output)")
    for part in [
      " freeze - lr 0.2 30/30 97.00 % 97.00 % 0.2500 1:02:05 1234 12.1M 2.0G ",
      " b mlp digits freeze - lr 0.1 30/30 95.00 % 50.00 % 0.2500 1:02:05 1234 12.1M 2.0G ",
      " killed (unfinished) resnet20 digits freeze a,b lr 0.1 3/300 90.00 % 88.00 % 0.3000 0:08 120 - -",
    ] { #expect(text.contains(part), "\(part)\n\(run.output)") }
    // The same run by another name comes once, and what is the same in all is left out.
    #expect(!text.contains("latest") && !text.contains("norm"))
  }

  @Test func orders() throws {
    let place = try Workplace()
    try make(place)
    for (key, order) in [
      ("best", ["a", "b", "killed"]), ("last", ["a", "killed", "b"]),
      ("loss", ["a", "b", "killed"]),
      ("time", ["killed", "a", "b"]), ("speed", ["a", "b", "killed"]),
      ("name", ["a", "b", "killed"]),
    ] {
      let result = try place.abn("runs", "runs", "runs/a", "--sort", key, "--json").json()
      let runs = try #require(result["runs"] as? [[String: Any]])
      #expect(
        runs.map { ($0["folder"] as? String)?.split(separator: "/").last.map(String.init) }
          == order, "\(key)")
      #expect(result["differing"] as? [String] == ["data", "epochs", "freeze", "lr", "model"])
    }
    let runs = try #require(
      try place.abn("runs", "runs/killed", "--json").json()["runs"] as? [[String: Any]])
    #expect(runs[0]["bestEpoch"] as? Int == 2 && runs[0]["bestAccuracy"] as? Double == 0.9)
    #expect(runs[0]["state"] as? String == "unfinished" && runs[0]["epochsDone"] as? Int == 3)
    #expect(runs[0]["plannedPeakBytes"] == nil && runs[0]["seconds"] as? Double == 7.5)
  }

  /// A run that was interrupted, and goes on: the log is ahead of the summary.
  @Test func theLogIsAhead() throws {
    let place = try Workplace()
    try summary(place, "r", accuracy: 0.5, interrupted: true)
    let before = try place.abn("runs", "r").output
    #expect(before.contains("(interrupted)") && before.contains("30/30"), "\(before)")
    try write(place, "r/log.csv", log.replacing("3,30,", with: "31,310,"))
    let after = try place.abn("runs", "r").output
    for part in ["(unfinished)", "31/30", "90.00 %", "88.00 %", "12.1M"] {
      #expect(after.contains(part), "\(part)\n\(after)")
    }
  }

  @Test func theUnreadableIsNamed() throws {
    let place = try Workplace()
    try make(place)
    try write(place, "runs/broken/summary.json", "{}")
    try write(place, "runs/torn/log.csv", "epoch,step\n1,2,3\n")
    try write(place, "runs/yaml/log.csv", log)
    try write(place, "runs/yaml/settings.yaml", "a: [")
    try write(place, "empty/x", "")
    let run = try place.abn("runs", "nowhere", "empty", "runs")
    #expect(run.status == 0 && run.errorLines.count == 5, "\(run.errors)")
    for name in ["nowhere", "empty", "broken/summary.json", "torn/log.csv", "yaml/settings.yaml"] {
      #expect(run.errors.contains(name), "\(name)\n\(run.errors)")
    }
    #expect(run.output.contains("\nb  mlp"))
    let none = try place.abn("runs", "empty")
    #expect(
      none.status == 1 && none.output.isEmpty && none.errors.contains("no run that can be read"))
    let wrong = try place.abn("runs", "--sort", "bset")
    #expect(wrong.status == 1 && wrong.errors.contains(#"Did you mean "best"?"#), "\(wrong.errors)")
  }

  /// Folders that `abn train` wrote.
  @Test func realRuns() throws {
    let place = try Workplace()
    for (name, rate) in [("runs/one", "0.05"), ("runs/two", "0.1")] {
      #expect(try place.train("--output", name, "--lr", rate).status == 0)
    }
    let run = try place.abn("runs")
    #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
    #expect(run.output.contains("one  mlp  digits  lr 0.05\n"), "\(run.output)")
    #expect(run.output.contains("two  mlp  digits  lr 0.1\n"), "\(run.output)")
  }
}
