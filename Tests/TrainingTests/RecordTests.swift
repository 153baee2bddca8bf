import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNImages
@testable import ABNTraining

/// JSON lines, and the events that TensorBoard reads.
@Suite struct RecordTests {
  @Test func linesAreObjects() throws {
    var lines: [String] = []
    let log = JSONLines(stepsEvery: 2) { lines.append($0) }
    try log.began(Records.run("a/\"b\""))
    for step in 1...4 { try log.step(Records.step(step)) }
    var broken = Records.epoch(1)
    broken.trainLoss = .nan
    try log.epoch(broken)
    try log.ended(Records.end)
    #expect(lines.allSatisfy { $0.hasSuffix("\n") && $0.filter(\.isNewline).count == 1 })
    let objects = try lines.map {
      try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(objects.map { $0["event"] as? String } == ["began", "step", "step", "epoch", "ended"])
    #expect(lines.allSatisfy { $0.hasPrefix(#"{"event":""#) })
    #expect(objects[0]["folder"] as? String == "a/\"b\"")
    #expect(objects[0]["resumedStep"] as? Int == 0)
    #expect(objects[1]["step"] as? Int == 2 && objects[1]["accuracy"] as? Double == 0.5)
    #expect(objects[3]["trainLoss"] is NSNull)
    #expect(
      objects[3]["validation"] as? [String: Double] == [
        "loss": 0.125, "accuracy": 0.125, "top5": 0.125,
      ])
    #expect(lines[3].contains(#""validation":{"loss":0.125,"accuracy":0.125,"top5":0.125}"#))
    #expect(objects[4]["reason"] as? String == "finished" && objects[4]["bestEpoch"] as? Int == 1)
  }

  private func events(_ folder: String) throws -> [EventFile] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      .filter { $0.hasPrefix("events.out.tfevents.") }
      .map { try EventFile(path: folder + "/" + $0) }
  }

  static let picture = Picture(
    size: PictureSize(height: 1, width: 2), channels: 3, bytes: [255, 0, 0, 0, 10, 255])

  /// A run of three passes that goes on from its tenth step.
  static func writeRun(_ folder: String) throws {
    var reads = 0
    for resumed in [0, 10] {
      let log = TensorBoardLog(stepsEvery: 2)
      try log.began(Records.run(folder, resumedStep: resumed))
      for step in resumed + 1...(resumed == 0 ? 13 : 21) {
        try log.step(Records.step(step))
        guard step % 7 == 0 else { continue }
        try log.epoch(Records.epoch(step / 7))
        try log.weights(step: step) {
          reads += 1
          return [
            ("fc.w", Tensor([Float(-0.5), 0.25, Float(step)])), ("nan", Tensor([Float.nan])),
          ]
        }
        try log.pictures(step: step) {
          [SamplePicture(name: "train/0", picture: picture)]
        }
      }
      try log.ended(Records.end)
    }
    #expect(reads == 3)
  }

  @Test func eventsOfARun() throws {
    try withTemporaryFolder { folder in
      try Self.writeRun(folder)
      let files = try events(folder)
      #expect(files.count == 2)
      #expect(files[0].values("train/loss").map(\.step) == [2, 4, 6, 8, 10, 12])
      #expect(files[1].values("train/loss").map(\.step) == [12, 14, 16, 18, 20])
      // Of the first file TensorBoard drops what comes from step 11 on.
      #expect(files[1].events.filter(\.isStart).map(\.step) == [11])
      #expect(files[0].values("train/loss")[1].value.scalar == 0.5)
      // Where there is no number there is no point.
      #expect(files[0].values("train/accuracy").map(\.step) == [2, 4, 8, 10])
      #expect(files[1].values("val/top5").map(\.step) == [14, 21])
      #expect(files[1].values("val/top5").map(\.value.scalar) == [0.25, 0.375])
      #expect(files[1].values("weights/fc.w").map(\.value.histogram.first) == [-0.5, -0.5])
      #expect(files[1].values("weights/nan").isEmpty)
      #expect(files[0].values("train/0").map(\.value.size) == [[1, 2, 3]])
      let text = try #require(files[0].values("settings").first?.value.text)
      #expect(text.contains("| note | a\\|b\\nc |\n") && text.contains("| lr | 0.1 |"))
    }
  }

  /// The weights are read once for all who want them, and not at all where nobody does.
  @Test func observersShareWhatIsRead() throws {
    final class Wants: TrainingObserver {
      var got = 0
      func weights(step: Int, _ read: () throws -> [(name: String, value: Tensor)]) throws {
        got += try read().count
      }
      func ended(_ record: EndRecord) throws {
        got += 100
        throw ABNError(.system, "a", got: "b", wanted: "c")
      }
    }
    final class Ignores: TrainingObserver {}
    let (first, second) = (Wants(), Wants())
    var reads = 0
    let all = TrainingObservers([Ignores(), first, second])
    try all.weights(step: 1) {
      reads += 1
      return [("w", Tensor([Float(1)]))]
    }
    try TrainingObservers([Ignores()]).weights(step: 1) {
      reads += 1
      return []
    }
    #expect(reads == 1 && first.got == 1 && second.got == 1)
    #expect(throws: ABNError.self) { try all.ended(Records.end) }
    #expect(first.got == 101 && second.got == 101)
  }
}
