import Foundation
import Testing

/// `abn bench model`. The floor is left out: the command of the tests is not optimized.
@Suite struct BenchModelTests {
  static let few = [
    "bench", "model", "--model", "resnet20", "--batch-size", "4", "--steps", "2", "--no-floor",
  ]

  /// Without the checking mode, in which these tests may run themselves: it is not timed.
  private func run(_ place: Workplace, _ arguments: String...) throws -> Outcome {
    try place.start(Self.few + arguments, shell: "unset ABN_CHECK").finish()
  }

  @Test func checksAreNotTimed() throws {
    let outcome = try Workplace().start(Self.few, shell: "export ABN_CHECK=1").finish()
    #expect(outcome.status != 0 && outcome.errorLines.count == 1, "\(outcome.errors)")
    #expect(outcome.errors.contains("Unset ABN_CHECK"), "\(outcome.errors)")
  }

  @Test(arguments: ["training", "inference"]) func timesAndTrace(_ pass: String) throws {
    let place = try Workplace()
    let outcome = try run(place, "--json", "--pass", pass, "--trace", "step.json")
    #expect(outcome.status == 0, "\(outcome.errors)")
    let result = try outcome.json()
    func number(_ key: String) throws -> Double { try #require(result[key] as? Double, "\(key)") }
    let seconds = try number("stepSeconds")
    #expect(seconds > 0)
    #expect(abs(try number("imagesPerSecond") * seconds - 4) < 1e-6)
    #expect(try number("gflops") > 0)
    #expect(try number("floorSeconds") == 0)
    #expect(try number("measuredPeakBytes") > 0 && number("plannedPeakBytes") > 1e5)
    #expect(result["pass"] as? String == pass)

    let kinds = try #require(result["kinds"] as? [[String: Any]])
    let names = kinds.compactMap { $0["name"] as? String }
    #expect(names.contains(pass == "training" ? "inplace_abn" : "conv2d_fusion"), "\(names)")
    let times = kinds.compactMap { $0["seconds"] as? Double }
    #expect(times == times.sorted(by: >) && times.count == kinds.count)

    let trace = try object(place.data("step.json"))
    let events = try #require(trace["traceEvents"] as? [[String: Any]])
    let steps = kinds.compactMap { $0["count"] as? Int }.reduce(0, +)
    // What is made once is in the trace, with no time.
    #expect(events.count >= steps && steps > 20)
    var end = 0.0
    for event in events {
      let start = try #require(event["ts"] as? Double)
      #expect(event["ph"] as? String == "X" && start >= end - 0.002)
      end = start + (try #require(event["dur"] as? Double))
    }
    #expect(events.contains { ($0["args"] as? [String: Any])?["flops"] as? Int ?? 0 > 0 })
  }

  @Test func theActivationIsChosen() throws {
    let outcome = try run(Workplace(), "--json", "--activation", "swish")
    #expect(outcome.status == 0, "\(outcome.errors)")
    let result = try outcome.json()
    #expect(result["activation"] as? String == "swish")
    let kinds = try #require(result["kinds"] as? [[String: Any]])
    let names = kinds.compactMap { $0["name"] as? String }
    #expect(names.contains { $0.contains("swish") }, "\(names)")
    let wrong = try run(Workplace(), "--activation", "swush")
    #expect(wrong.status != 0 && wrong.errors.contains("swish"), "\(wrong.errors)")
  }

  @Test func theTableNamesKindsAndShares() throws {
    let outcome = try run(Workplace())
    #expect(outcome.status == 0, "\(outcome.errors)")
    for word in ["resnet20, inplace, training, 4 images", "share", "GFLOP/s", "conv2d_weight_grad"]
    {
      #expect(outcome.output.contains(word), "\(word) in \(outcome.output)")
    }
    #expect(!outcome.output.contains("floor"), "left out")
  }

  @Test func mistakesAreOneLine() throws {
    let place = try Workplace()
    let mistakes: [([String], String)] = [
      (["--pass", "inferense"], "Did you mean \"inference\"?"),
      (["--batch-size", "0"], "batch size 0"), (["--steps", "0"], "0 steps"),
      (["--trace", "nowhere/step.json"], "nowhere/step.json"),
    ]
    for (arguments, words) in mistakes {
      let outcome = try place.start(Self.few + arguments, shell: "unset ABN_CHECK").finish()
      #expect(outcome.status != 0, "\(arguments)")
      #expect(outcome.errorLines.count == 1 && outcome.errors.contains(words), "\(outcome.errors)")
    }
  }
}
