import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Runs that are killed or interrupted and go on, as processes.
@Suite(.serialized) struct ResumeTests {
  /// A checkpoint after every step; dropout, so that there is state beside the weights.
  private static let train = [
    "train", "--model", "lenet", "--epochs", "3", "--batch-size", "256", "--threads", "1",
    "--ema", "0.9", "--checkpoint-minutes", "0", "--output",
  ]

  /// The columns of a log that two runs of one command share.
  private func losses(_ place: Workplace, _ folder: String) throws -> [[Substring]] {
    let text = String(decoding: try place.data("\(folder)/log.csv"), as: UTF8.self)
    return text.split(separator: "\n").map { $0.split(separator: ",").prefix(7).map { $0 } }
  }

  /// Killed by SIGKILL at 100 random moments, writes included, and resumed each time: the same final bits,
  /// and a log without a doubled or a lost row.
  @Test func killedAtAHundredMoments() throws {
    let place = try Workplace()
    let begin = ContinuousClock.now
    let whole = try place.start(Self.train + ["whole"]).finish()
    #expect(whole.status == 0, "\(whole.errors)")
    let duration = begin.duration(to: .now) / .milliseconds(1)
    let wanted = try (
      place.data("whole/model.safetensors"), place.data("whole/best/model.safetensors")
    )
    let random = CounterRandom(seed: soakSeed, stream: 0x6b69)
    var (kills, runs, starts) = (0, 0, UInt64(0))
    while kills < 100 {
      let folder = "run\(runs)"
      runs += 1
      while true {
        let running = try place.start(Self.train + [folder, "--resume"])
        // Up to the time of a whole run, so that most are hit, on a fast machine too.
        usleep(UInt32(random.uniform(starts) * duration * 1000))
        starts += 1
        if running.process.isRunning {
          kill(running.process.processIdentifier, SIGKILL)
          running.process.waitUntilExit()
          kills += 1
          continue
        }
        #expect(try running.finish().status == 0, "\(running.errors)")
        break
      }
      #expect(try place.data("\(folder)/model.safetensors") == wanted.0, "after \(kills) kills")
      #expect(try place.data("\(folder)/best/model.safetensors") == wanted.1)
      #expect(try losses(place, folder) == losses(place, "whole"))
      let left = place.files(folder) + place.files("\(folder)/checkpoints")
      #expect(left.allSatisfy { !$0.hasSuffix(".tmp") && $0 != "run.lock" }, "\(left)")
    }
  }

  /// Ctrl-C writes a checkpoint, also from within an epoch; what it goes on with is the same.
  @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func interruptedAndResumed(number: Int32) throws {
    let place = try Workplace()
    let command = [
      "train", "--model", "mlp", "--epochs", "40", "--threads", "1", "--output",
    ]
    #expect(try place.start(command + ["whole"]).finish().status == 0)
    let running = try place.start(command + ["run"])
    let deadline = ContinuousClock.now + .seconds(60)
    while !running.errors.contains("\n"), running.process.isRunning, .now < deadline {
      usleep(2_000)
    }
    kill(running.process.processIdentifier, number)
    let first = try running.finish()
    // A fast machine may have ended first.
    #expect([130, 0].contains(first.status), "\(first.errors)")
    let rest = try place.start(["train", "--resume", "--output", "run"]).finish()
    #expect(rest.status == 0, "\(rest.errors)")
    #expect(try place.data("run/model.safetensors") == place.data("whole/model.safetensors"))
    #expect(try losses(place, "run") == losses(place, "whole"))

    // A run that has ended is left alone.
    let before = try place.data("run/summary.json")
    let again = try place.start(["train", "--resume", "--output", "run"]).finish()
    #expect(again.status == 0 && again.output.contains("held-out accuracy"), "\(again.errors)")
    #expect(try place.data("run/summary.json") == before)
  }

  @Test func aCheckpointIsOfItsRun() throws {
    let place = try Workplace()
    func resume(_ more: String...) throws -> Outcome {
      try place.start(
        ["train", "--resume", "--output", "run", "--model", "mlp", "--epochs", "3"] + more
      ).finish()
    }
    // Without a checkpoint it says so and starts.
    let started = try resume("--epochs", "2")
    #expect(started.status == 0 && started.errors.contains("note: no checkpoint"))
    #expect(try resume("--patience", "9").status == 0)
    for (option, value) in [
      ("--model", "lenet"), ("--seed", "7"), ("--lr", "0.5"), ("--batch-size", "32"),
      ("--norm", "standard"), ("--optimizer", "adamw"), ("--ema", "0.5"),
    ] {
      let other = try resume("--epochs", "4", option, value)
      #expect(other.status == 1 && other.errorLines.count == 1, "\(option): \(other.errors)")
      #expect(other.errors.contains("checkpoints/last.safetensors"), "\(other.errors)")
      #expect(other.errors.contains(String(option.dropFirst(2))), "\(other.errors)")
    }
    // Damaged anywhere: one line, and the file stays as it is.
    let path = "run/checkpoints/last.safetensors"
    let good = [UInt8](try place.data(path))
    for damage in [0, 20, good.count / 2, good.count - 1] {
      var bad = good
      bad[damage] ^= 0x10
      try place.write(path, bad)
      let outcome = try resume("--epochs", "4")
      #expect(outcome.status == 1 && outcome.errorLines.count == 1, "\(damage): \(outcome.errors)")
      #expect(outcome.errors.contains("last.safetensors"), "\(damage): \(outcome.errors)")
      #expect(try [UInt8](place.data(path)) == bad)
    }
    try place.write(path, good)
    #expect(try resume("--epochs", "4").status == 0)
  }

  /// Where the last checkpoint is damaged, an older one that was kept is named, and goes on.
  @Test func anOlderCheckpointGoesOn() throws {
    let place = try Workplace()
    let command = ["train", "--model", "mlp", "--threads", "1", "--checkpoint-epochs", "1"]
    #expect(try place.start(command + ["--epochs", "3", "--output", "whole"]).finish().status == 0)
    #expect(try place.start(command + ["--epochs", "3", "--output", "run"]).finish().status == 0)
    let last = "run/checkpoints/last.safetensors"
    let kept = "run/checkpoints/epoch-0002.safetensors"
    try FileManager.default.removeItem(
      atPath: place.path + "/run/checkpoints/epoch-0003.safetensors")
    for cut in [2, 40_000] {
      try place.write(last, [UInt8](place.data(kept)).dropLast(cut))
      let damaged = try place.abn("train", "--resume", "--output", "run", "--epochs", "4")
      #expect(damaged.status == 1 && damaged.errors.contains(kept), "\(damaged.errors)")
    }
    try place.write(last, [UInt8](place.data(kept)))
    for name in ["model.safetensors", "summary.json"] {
      try FileManager.default.removeItem(atPath: place.path + "/run/" + name)
    }
    let rest = try place.abn("train", "--resume", "--output", "run")
    #expect(rest.status == 0, "\(rest.errors)")
    #expect(try place.data("run/model.safetensors") == place.data("whole/model.safetensors"))
  }

  /// A full disk at a checkpoint: one line, and the last good checkpoint goes on.
  @Test func aFullDiskLeavesTheLastCheckpoint() throws {
    let place = try Workplace()
    let command = ["train", "--model", "mlp", "--threads", "1", "--output", "run", "--epochs"]
    #expect(try place.start(command + ["1"]).finish().status == 0)
    let last = try place.data("run/checkpoints/last.safetensors")
    let full = try place.start(command + ["2", "--resume"], shell: "ulimit -f 20").finish()
    #expect(full.status == 1 && full.errorLines.last?.contains("cannot be written") == true)
    #expect(try place.data("run/checkpoints/last.safetensors") == last)
    #expect(try place.start(command + ["2", "--resume"]).finish().status == 0)
  }

  /// A folder with a model and no checkpoint is no run: nothing in it is replaced.
  @Test func aModelIsNoRun() throws {
    let place = try Workplace()
    #expect(
      try place.abn("weights", "init", "--model", "mlp", "--output", "net").status == 0)
    let model = try place.data("net/model.safetensors")
    let outcome = try place.train("--resume", "--output", "net")
    #expect(outcome.status == 1 && outcome.errors.contains("--weights net"), "\(outcome.errors)")
    #expect(try place.data("net/model.safetensors") == model)
    let both = try place.train("--resume", "--overwrite", "--output", "net")
    #expect(both.status == 1 && both.errors.contains("--overwrite"), "\(both.errors)")
  }

  /// More epochs, or more time, are remembered: a run that was killed on its way there goes on to them.
  @Test func whatARunGetsLaterIsRemembered() throws {
    let place = try Workplace()
    #expect(try place.train("--epochs", "2", "--output", "run").status == 0)
    let running = try place.start(["train", "--resume", "--output", "run", "--epochs", "100000"])
    while running.process.isRunning, try losses(place, "run").count < 6 { usleep(5_000) }
    kill(running.process.processIdentifier, SIGKILL)
    running.process.waitUntilExit()
    let rest = try place.start(
      ["train", "--resume", "--output", "run", "--time-budget", "4s", "--json"]
    ).finish()
    #expect(try rest.lastJSON()["stopReason"] as? String == "timeBudget", "\(rest.errors)")
    let done = try #require(rest.lastJSON()["epochsDone"] as? Int)
    #expect(done > 2)
    let again = try place.start(["train", "--resume", "--output", "run"]).finish()
    #expect(again.status == 0 && again.errors.contains("has ended"), "\(again.errors)")
    let more = try place.start(
      [
        "train", "--resume", "--output", "run", "--time-budget", "1h", "--epochs", "\(done + 2)",
        "--json",
      ]
    ).finish()
    #expect(try more.lastJSON()["epochsDone"] as? Int == done + 2, "\(more.errors)")
  }

  /// An overwritten run is never gone on with.
  @Test func anOverwrittenRunIsGone() throws {
    let place = try Workplace()
    #expect(try place.train("--epochs", "3", "--output", "run").status == 0)
    let command = ["train", "--model", "mlp", "--epochs", "100000", "--seed", "7", "--overwrite"]
    let running = try place.start(command + ["--output", "run", "--checkpoint-minutes", "60"])
    while running.process.isRunning, !running.errors.contains("\n") { usleep(5_000) }
    kill(running.process.processIdentifier, SIGKILL)
    running.process.waitUntilExit()
    let rest = try place.start(["train", "--resume", "--output", "run", "--epochs", "30"]).finish()
    #expect(rest.status == 0, "\(rest.errors)")
    let whole = try place.start(
      ["train", "--model", "mlp", "--epochs", "30", "--seed", "7", "--output", "whole"]
    ).finish()
    #expect(whole.status == 0)
    // The schedule had other epochs before the kill: seeds and rows are what is compared.
    let epochs = try losses(place, "run").dropFirst().map { $0[0] }
    #expect(epochs == (1...30).map { Substring("\($0)") })
    #expect(try object(place.data("run/summary.json"))["seed"] as? Int == 7)
  }

  /// The same settings on other data: what is there of the old run is not taken for the new one's.
  @Test func anOverwrittenRunOnOtherData() throws {
    let place = try Workplace()
    for folder in ["a", "b"] { try place.makePhotographs(folder, train: 40, test: 10) }
    let command = [
      "train", "--model", "mlp", "--batch-size", "10", "--epochs", "40", "--output", "run",
      "--data",
    ]
    #expect(try place.start(command + ["cifar10:a"]).finish().status == 0)
    let running = try place.start(command + ["cifar10:b", "--overwrite"])
    while running.process.isRunning,
      place.files("run/checkpoints").isEmpty
        || !running.errors.contains("\n")
    { usleep(1_000) }
    kill(running.process.processIdentifier, SIGKILL)
    running.process.waitUntilExit()
    let rest = try place.start(["train", "--resume", "--output", "run"]).finish()
    #expect(rest.status == 0, "\(rest.errors)")
    let settings = try object(place.data("run/summary.json"))["settings"] as? [String: String]
    #expect(settings?["data"]?.hasSuffix("/b") == true, "\(rest.errors)")
  }

  /// Whoever reads the lines and goes asks to stop.
  @Test func aClosedPipeAsksToStop() throws {
    let place = try Workplace()
    let running = try place.start(
      ["train", "--model", "mlp", "--epochs", "100000", "--output", "run", "--json"],
      shell: "set -- \"$@\"; \"$0\" \"$@\" | head -1 >/dev/null; exit 0")
    running.wait(seconds: 60)
    #expect(place.files("run/checkpoints") == ["last.safetensors"], "\(running.errors)")
  }

  @Test func keepsTheNewestCheckpoints() throws {
    let place = try Workplace()
    let run = try place.train(
      "--epochs", "5", "--checkpoint-epochs", "1", "--keep-checkpoints", "2", "--output", "run")
    #expect(run.status == 0, "\(run.errors)")
    #expect(
      place.files("run/checkpoints")
        == ["epoch-0004.safetensors", "epoch-0005.safetensors", "last.safetensors"])
  }

  @Test func endsByPatienceAndByTime() throws {
    let place = try Workplace()
    let patience = try place.train(
      "--epochs", "1000", "--lr", "1e-30", "--patience", "3", "--output", "a", "--json")
    #expect(try patience.lastJSON()["stopReason"] as? String == "earlyStopped")
    #expect(try patience.lastJSON()["epochsDone"] as? Int == 4)
    // Killed between the last checkpoint and the model: nothing more is trained.
    for name in ["model.safetensors", "summary.json"] {
      try FileManager.default.removeItem(atPath: "\(place.path)/a/\(name)")
    }
    let rest = try place.start(["train", "--resume", "--output", "a", "--json"]).finish()
    #expect(try rest.lastJSON()["stopReason"] as? String == "earlyStopped", "\(rest.errors)")
    #expect(try rest.lastJSON()["epochsDone"] as? Int == 4)
    let time = try place.train(
      "--epochs", "100000", "--time-budget", "1s", "--output", "b", "--json")
    #expect(try time.lastJSON()["stopReason"] as? String == "timeBudget")
    #expect(try time.lastJSON()["accuracy"] as? Double != nil)
    #expect(try time.lastJSON()["interrupted"] as? Bool == false)
  }
}
