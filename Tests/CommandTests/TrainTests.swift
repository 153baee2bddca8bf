import Foundation
import Testing

/// `abn train` and `abn eval` as processes, on the built-in digits.
@Suite(.serialized) struct TrainTests {
  @Test func trainingLeavesAModelAndASummary() throws {
    let place = try Workplace()
    let run = try place.train("--seed", "3", "--threads", "1", "--output", "a/b")
    #expect(run.status == 0, "\(run.errors)")
    #expect(place.files("a/b") == runFiles)
    let summary = try object(place.data("a/b/summary.json"))
    let accuracy = try #require(summary["accuracy"] as? Double)
    // Guessing gives 0.1; one epoch of this network 0.6 to 0.8, by the seed.
    #expect((0.4...1).contains(accuracy))
    let loss = try #require(summary["loss"] as? Double)
    #expect(loss > 0 && loss < log(10))
    #expect(try #require(summary["seconds"] as? Double) > 0)
    #expect(try #require(summary["imagesPerSecond"] as? Double) > 0)
    let planned = try #require(summary["plannedPeakBytes"] as? Int)
    let measured = try #require(summary["measuredPeakBytes"] as? Int)
    let base = try #require(summary["baseBytes"] as? Int)
    // The weights alone: 26,378 numbers and their velocities.
    #expect(planned > 2 * 4 * 26_378)
    #expect(measured > base && base > 0)
    #expect(summary["seed"] as? Int == 3)
    #expect(summary["interrupted"] as? Bool == false)
    #expect(summary["epochsDone"] as? Int == 1)
    let settings = try #require(summary["settings"] as? [String: String])
    let wanted = [
      "data": "digits", "model": "mlp", "norm": "inplace", "epochs": "1", "seed": "3",
      "threads": "1", "output": "a/b",
    ]
    for (key, value) in wanted { #expect(settings[key] == value, "\(key)") }
    for key in ["activation", "alpha", "batch-size", "lr", "momentum", "weight-decay"] {
      #expect(settings[key] != nil, "\(key)")
    }
    #expect(run.output.contains(String(format: "%.2f %%", accuracy * 100)))
    #expect(run.output.contains("a/b/model.safetensors"))

    // The line of the epoch, where standard error is no terminal.
    let pattern =
      #/epoch 1\/1  step 11\/11  loss \d+\.\d{4}  accuracy \d+\.\d\d %  lr \S+  \d+ images\/s  data wait \d+ %  \d+:\d\d left  peak \d+\.\d [KMG]iB  held out: loss \d+\.\d{4} accuracy \d+\.\d\d % top5 \d+\.\d\d %  best/#
    #expect(run.errorLines.count == 1)
    #expect(run.errorLines.first?.wholeMatch(of: pattern) != nil, "\(run.errors)")
  }

  @Test func evaluationAgreesWithTheSummary() throws {
    let place = try Workplace()
    let trained = try place.train("--output", "run", "--json")
    #expect(trained.status == 0, "\(trained.errors)")
    let summary = try trained.lastJSON()
    let saved = try object(place.data("run/summary.json"))
    #expect(saved["modelChecksum"] as? String == summary["modelChecksum"] as? String)
    // Beside what is saved: what the line is, and where the report is.
    #expect(summary["event"] as? String == "summary" && saved.count + 2 == summary.count)
    #expect(summary["report"] as? String == "run/report.html")

    let evaluated = try place.abn("eval", "run", "--json")
    #expect(evaluated.status == 0 && evaluated.errors.isEmpty, "\(evaluated.errors)")
    let result = try evaluated.json()
    #expect(result["count"] as? Int == 360)
    #expect(result["accuracy"] as? Double == summary["accuracy"] as? Double)
    let losses = try [result, summary].map { try #require($0["loss"] as? Double) }
    #expect(abs(losses[0] - losses[1]) < 1e-5)

    // Right answers are counted, however they are batched.
    let small = try place.abn("eval", "run", "--json", "--batch-size", "45").json()
    #expect(small["accuracy"] as? Double == summary["accuracy"] as? Double)
    let text = try place.abn("eval", "run")
    #expect(text.output.hasPrefix("accuracy ") && text.output.contains("on 360 images\n"))
  }

  @Test(arguments: [1, 2]) func sameSeedSameBits(threads: Int) throws {
    let place = try Workplace()
    for (folder, seed) in [("a", "5"), ("b", "5"), ("c", "6")] {
      let run = try place.train("--seed", seed, "--threads", "\(threads)", "--output", folder)
      #expect(run.status == 0, "\(run.errors)")
    }
    let models = try ["a", "b", "c"].map { try place.data("\($0)/model.safetensors") }
    #expect(models[0] == models[1])
    #expect(models[0] != models[2])
  }

  @Test func inPlaceAndStandardLearnAlike() throws {
    let place = try Workplace()
    let results = try ["inplace", "standard"].map { norm in
      try place.train("--norm", norm, "--output", norm, "--json").lastJSON()
    }
    let losses = try results.map { try #require($0["loss"] as? Double) }
    // 11 steps apart by rounding only.
    #expect(abs(losses[0] - losses[1]) < 2e-2, "\(losses)")
    let planned = try results.map { try #require($0["plannedPeakBytes"] as? Int) }
    #expect(planned[0] < planned[1])
  }

  @Test func interruptionStopsAndSaves() throws {
    let place = try Workplace()
    let running = try place.start(
      ["train", "--model", "mlp", "--epochs", "100000", "--output", "run", "--json"])
    let deadline = ContinuousClock.now + .seconds(60)
    while !running.errors.contains("\n"), running.process.isRunning, .now < deadline {
      usleep(20_000)
    }
    #expect(running.errors.hasPrefix("epoch 1/100000 "), "\(running.errors)")
    running.process.interrupt()
    let run = try running.finish()
    #expect(run.status == 130)
    let summary = try run.lastJSON()
    #expect(summary["interrupted"] as? Bool == true)
    let done = try #require(summary["epochsDone"] as? Int)
    #expect((1..<100_000).contains(done))
    #expect(summary["stopReason"] as? String == "interrupted")
    #expect(place.files("run") == runFiles)
    // No evaluation is waited for; one of an earlier epoch is not that of the saved weights.
    let evaluated = try place.abn("eval", "run", "--json").json()
    let accuracy = summary["accuracy"] as? Double
    #expect(accuracy == nil || evaluated["accuracy"] as? Double == accuracy)
    #expect(running.errors.contains("abn: ") == false)
  }

  /// The batch that a budget allows is known before the data are cut for --overfit, and --lr-find begins
  /// where a run would.
  @Test func whatIsChosenBeforeTheFirstStep() throws {
    let place = try Workplace()
    let run = try place.train(
      "--overfit", "1", "--batch-size", "auto", "--memory-budget", "3MiB", "--output", "run",
      "--json")
    #expect(run.status == 0, "\(run.errors)")
    let began = try object(Data(#require(run.output.split(separator: "\n").first).utf8))
    #expect(try #require(began["trainCount"] as? Int) == began["batchSize"] as? Int)
    let search = try place.train("--lr-find", "--weights", "nowhere.pth", "--output", "find")
    #expect(search.status == 1 && search.errors.contains("nowhere.pth"), "\(search.errors)")
  }

  @Test func helpNamesWhatThereIs() throws {
    let place = try Workplace()
    let help = try place.abn("train", "--help")
    #expect(help.status == 0 && help.errors.isEmpty)
    for word in ["digits, mnist:DIR, cifar10:DIR", "folder:DIR", "abn models", "--lr", "--json"] {
      #expect(help.output.contains(word), "\(word)")
    }
    #expect(try place.abn("--version").output.first?.isNumber == true)
    #expect(place.files("").isEmpty)
  }
}
