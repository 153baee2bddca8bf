import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// What `abn train` writes about a run while it goes.
@Suite(.serialized) struct LogTests {
  private func lines(_ text: String) throws -> [[String: Any]] {
    try text.split(separator: "\n").map { try object(Data($0.utf8)) }
  }

  /// Each line of `--json` is an object, and says the same as `log.csv`.
  @Test func jsonLinesAgreeWithTheLog() throws {
    let place = try Workplace()
    let run = try place.abn(
      "train", "--model", "mlp", "--epochs", "3", "--output", "run", "--json")
    #expect(run.status == 0, "\(run.errors)")
    let lines = try lines(run.output)
    let events = lines.map { $0["event"] as? String }
    // 11 steps an epoch.
    #expect(
      events == [
        "began", "step", "epoch", "step", "epoch", "step", "epoch", "ended", "summary",
      ])
    #expect(lines[0]["parameterCount"] as? Int == 26_378)
    #expect(lines[0]["stepsPerEpoch"] as? Int == 11 && lines[0]["epochs"] as? Int == 3)
    #expect(lines.compactMap { $0["stepInEpoch"] as? Int } == [10, 9, 8])
    #expect(lines[7]["reason"] as? String == "finished")

    // Digit by digit: the same numbers, spelled as each of the two spells them.
    func spelled(_ cells: [String]?) throws -> [String] {
      try (try #require(cells)).map { JSON.number(try #require(Double($0))).line }
    }
    let texts = run.output.split(separator: "\n").map(String.init)
    let epochs = texts.filter { $0.hasPrefix(#"{"event":"epoch""#) }
    let table = try CSVTable.read(path: place.path + "/run/log.csv")
    for (column, name) in [
      ("epoch", "epoch"), ("step", "step"), ("train_loss", "trainLoss"),
      ("train_accuracy", "trainAccuracy"), ("learning_rate", "learningRate"),
      ("val_loss", "loss"), ("val_accuracy", "accuracy"), ("val_top5", "top5"),
    ] {
      let cells = try spelled(table.column(column))
      #expect(cells.count == epochs.count)
      for (cell, text) in zip(cells, epochs) {
        #expect(
          text.firstMatch(of: try Regex("\"\(name)\":\(cell)[,}]")) != nil, "\(name): \(text)")
      }
    }
    let steps = try CSVTable.read(path: place.path + "/run/steps.csv")
    #expect(steps.column("step") == ["10", "20", "30"])
    let told = texts.filter { $0.hasPrefix(#"{"event":"step""#) }
    for (loss, text) in zip(try spelled(steps.column("loss")), told) {
      #expect(text.contains(#""loss":\#(loss),"#), "\(text)")
    }
    // What is told at the end is what the log has.
    let accuracy = try #require(try spelled(table.column("val_accuracy")).last)
    #expect(texts.last?.contains(#""accuracy":\#(accuracy),"#) == true)
  }

  /// The events of a run: curves, a histogram of each parameter, pictures as they are fed.
  @Test func eventsHaveWeightsAndPictures() throws {
    let place = try Workplace()
    let run = try place.abn(
      "train", "--model", "lenet", "--epochs", "2", "--output", "run")
    #expect(run.status == 0, "\(run.errors)")
    let names = try FileManager.default.contentsOfDirectory(atPath: place.path + "/run")
      .filter { $0.hasPrefix("events.out.tfevents.") }
    #expect(names.count == 1)
    let file = try EventFile(path: place.path + "/run/" + #require(names.first))
    #expect(file.values("train/loss").map(\.step) == [10, 20])
    #expect(file.values("val/accuracy").map(\.step) == [11, 22])
    let table = try CSVTable.read(path: place.path + "/run/log.csv")
    let accuracies = try #require(table.column("val_accuracy")).map { Float($0) }
    #expect(file.values("val/accuracy").map(\.value.scalar) == accuracies)

    let weights = Set(
      file.events.flatMap(\.values).map(\.tag).filter { $0.hasPrefix("weights/") })
    let model = try ModelFile.read(folder: place.path + "/run")
    #expect(
      weights.count > 3 && weights.isSubset(of: model.parameters.keys.map { "weights/" + $0 }))
    for (name, value) in model.parameters where weights.contains("weights/" + name) {
      let last = try #require(file.values("weights/" + name).last)
      // The last histogram is that of the weights that were saved.
      let numbers = value.elements(Float.self).map { Double($0) }
      #expect(last.step == 22 && last.value.histogram[0] == numbers.min(), "\(name)")
      #expect(last.value.histogram[1] == numbers.max(), "\(name)")
      #expect(last.value.histogram[2] == Double(numbers.count), "\(name)")
      #expect(last.value.counts.reduce(0, +) == Double(numbers.count), "\(name)")
    }
    let picture = try #require(file.values("train/0").first?.value)
    #expect(picture.png?.starts(with: [0x89, 0x50, 0x4E, 0x47]) == true)
    #expect(picture.size.prefix(2) == [8, 8])
    #expect(file.values("settings").first?.value.text?.contains("| model | lenet |") == true)
  }
}
