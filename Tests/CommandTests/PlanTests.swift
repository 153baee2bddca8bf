import Foundation
import Testing

/// `abn plan`: nothing is run, everything is said.
@Suite(.serialized) struct PlanTests {
  @Test func jsonAndFiles() throws {
    let place = try Workplace()
    let run = try place.start([
      "plan", "--model", "resnet20", "--batch-size", "16", "--json", "--timeline", "t.html",
      "--snapshot", "s.pickle",
    ]).finish()
    #expect(run.status == 0, "\(run.errors)")
    let json = try run.json()
    func bytes(_ key: String) throws -> Int { try #require(json[key] as? Int, "\(key)") }
    #expect(
      try bytes("peakBytes")
        == bytes("arenaBytes") + bytes("parameterBytes") + bytes("optimizerBytes"))
    #expect(try bytes("lowerBoundBytes") <= bytes("arenaBytes"))
    #expect(try bytes("savingBytes") == bytes("standardPeakBytes") - bytes("peakBytes"))
    let decisions = try #require(json["decisions"] as? [[String: Any]])
    let actions = decisions.compactMap { $0["action"] as? String }
    // Nine blocks; the last one's end has one reader.
    #expect(
      actions.sorted() == Array(repeating: "fuse", count: 8)
        + Array(repeating: "subtract", count: 9))
    #expect(try #require(json["peakTensors"] as? [Any]).count == 10)
    let rules = try #require(json["rules"] as? [[String: Any]])
    let subtracted = try #require(
      rules.first { $0["rule"] as? String == "residual terms subtracted" })
    #expect(subtracted["count"] as? Int == 9)
    #expect(try #require(subtracted["savedBytes"] as? Int) > 0)
    let seconds = try ["planSeconds", "compileSeconds"].map { try #require(json[$0] as? Double) }
    #expect(0 < seconds[0] && seconds[0] < seconds[1])
    #expect(place.files("") == ["s.pickle", "t.html"])
    #expect(try place.data("t.html").count > 10_000)
    #expect(try place.data("s.pickle").last == UInt8(ascii: "."))
  }

  @Test func inWords() throws {
    let run = try Workplace().start(["plan", "--model", "lenet", "--norm", "standard"]).finish()
    #expect(run.status == 0, "\(run.errors)")
    let words = [
      "lenet, standard, 32 images", "peak", "lower bound", "LeNet.swift:", "Planned in",
      "  z over y over x", "  max-pool winners as bytes",
      "  updates directly after their gradients",
    ]
    for word in words {
      #expect(run.output.contains(word), "\(run.output)")
    }
    #expect(!run.output.contains("standard layer"))
    #expect(run.output.contains("activation memory    "))
  }

  /// Images of any sizes, and what in place and the standard layer need beside parameters and state.
  @Test func activationMemoryOfASegmentation() throws {
    let arguments = [
      "plan", "--model", "unet", "--image", "3x128x192", "--classes", "5", "--batch-size", "8",
    ]
    let json = try Workplace().start(arguments + ["--json"]).finish().json()
    #expect(json["image"] as? [Int] == [3, 128, 192])
    let own = try #require(json["activationMemoryBytes"] as? Int)
    let other = try #require(json["standardActivationMemoryBytes"] as? Int)
    #expect(own == json["arenaBytes"] as? Int)
    let difference = try #require(json["savingBytes"] as? Int)
    #expect(difference == other - own && Double(other) > 1.4 * Double(own))
    let text = try Workplace().start(arguments).finish().output
    #expect(text.contains("unet, inplace, 8 images of 128 x 192, momentum"))
    let ratio = String(format: "%.2f times that", Double(other) / Double(own))
    #expect(text.contains("activation memory    ") && text.contains(ratio), "\(text)")
  }
}
