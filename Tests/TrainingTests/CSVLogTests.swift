import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

@testable import ABNTraining

/// Records of a run of which only its numbers matter.
enum Records {
  static func run(
    _ folder: String, epochs: Int = 3, stepsPerEpoch: Int = 7, resumedStep: Int = 0
  ) -> RunRecord {
    RunRecord(
      model: "mlp", data: "digits", folder: folder, epochs: epochs, stepsPerEpoch: stepsPerEpoch,
      batchSize: 32, trainCount: 32 * stepsPerEpoch, validationCount: 50, classCount: 10,
      parameterCount: 1000, resumedStep: resumedStep, plannedPeakBytes: 1 << 20,
      settings: ["lr": "0.1", "data": "digits", "note": "a|b\nc"])
  }

  static func step(_ number: Int, stepsPerEpoch: Int = 7) -> StepRecord {
    StepRecord(
      step: number, epoch: (number - 1) / stepsPerEpoch + 1,
      stepInEpoch: (number - 1) % stepsPerEpoch + 1, loss: 2 / Double(number),
      accuracy: number % 3 == 0 ? nil : 1 - 1 / Double(number), learningRate: 0.1 / Double(number),
      imagesPerSecond: 1000 + Double(number), waitShare: 0.01)
  }

  static func epoch(
    _ number: Int, stepsPerEpoch: Int = 7, names: [String] = ["loss", "accuracy", "top5"]
  ) -> EpochRecord {
    EpochRecord(
      epoch: number, step: number * stepsPerEpoch, trainLoss: 1 / Double(number),
      trainAccuracy: 0.5, validation: names.map { NamedValue($0, Double(number) / 8) },
      learningRate: 0.01, seconds: 1.5, imagesPerSecond: 1234.56789, waitShare: 0.25,
      isBest: number == 1)
  }

  static let end = EndRecord(
    reason: .finished, epochsDone: 3, stepsDone: 21, seconds: 4.5, bestEpoch: 1, modelPath: "m")
}

/// A folder for the time of a test.
func withTemporaryFolder<R>(_ body: (String) throws -> R) throws -> R {
  let path = FileManager.default.temporaryDirectory.path + "/abn-logs-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try body(path)
}

@Suite struct CSVLogTests {
  private func text(_ folder: String, _ name: String) throws -> String {
    try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
  }

  @Test func columns() throws {
    try withTemporaryFolder { folder in
      let log = CSVLog(stepsEvery: 2)
      try log.began(Records.run(folder))
      for step in 1...3 { try log.step(Records.step(step)) }
      try log.epoch(Records.epoch(1))
      // What is there is there before the end.
      #expect(
        try text(folder, "log.csv") == """
          epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,val_top5,learning_rate,images_per_second,wait_share,seconds,is_best
          1,7,1.0,0.5,0.125,0.125,0.125,0.01,1234.5679,0.25,1.5,1

          """)
      #expect(
        try text(folder, "steps.csv") == """
          step,epoch,loss,accuracy,learning_rate,images_per_second,wait_share
          2,1,1.0,0.5,0.05,1002.0,0.01

          """)
      let silent = CSVLog(stepsEvery: 0)
      try silent.began(Records.run(folder))
      try silent.step(Records.step(2))
      #expect(try text(folder, "log.csv").isEmpty && !text(folder, "steps.csv").isEmpty)
    }
  }

  /// A run that is killed anywhere, a row half written, and goes on from any checkpoint has in the
  /// end the rows of one that never was.
  @Test func resumptionLosesAndDoublesNothing() throws {
    for seed in soakSeed..<soakSeed + UInt64(15 * soakFactor) {
      try withTemporaryFolder { folder in try resume(seed, folder) }
    }
  }

  /// The state that a checkpoint keeps.
  private struct Checkpoint {
    var step = 0
    var epochsDone = 0
  }

  private func resume(_ seed: UInt64, _ folder: String) throws {
    let random = CounterRandom(seed: seed, stream: 0x6373)
    var draws: UInt64 = 0
    func next(_ bound: Int) -> Int {
      draws += 1
      return Int(random.bits(draws) % UInt32(bound))
    }
    let (epochs, steps, every) = (1 + next(4), 1 + next(9), 1 + next(4))
    let whole = folder + "/whole"
    let killed = folder + "/killed"
    for path in [whole, killed] {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    var saved = Checkpoint()
    /// Runs until the end, or until so many calls were made.
    func run(_ path: String, calls: Int) throws -> Bool {
      var left = calls
      var state = saved
      let log = CSVLog(stepsEvery: every)
      try log.began(
        Records.run(path, epochs: epochs, stepsPerEpoch: steps, resumedStep: state.step))
      func save() throws {
        try log.willSaveCheckpoint(step: state.step)
        saved = state
      }
      while state.epochsDone < epochs {
        while state.step < (state.epochsDone + 1) * steps {
          if left == 0 { return false }
          left -= 1
          state.step += 1
          try log.step(Records.step(state.step, stepsPerEpoch: steps))
          if calls < .max, next(5) == 0 { try save() }
        }
        if left == 0 { return false }
        left -= 1
        state.epochsDone += 1
        try log.epoch(Records.epoch(state.epochsDone, stepsPerEpoch: steps))
        if calls < .max, next(2) == 0 { try save() }
      }
      try log.ended(Records.end)
      return true
    }
    #expect(try run(whole, calls: .max))
    var kills = 0
    while try !run(killed, calls: next(steps * 2) + 1), kills < 100 {
      kills += 1
      for name in ["log.csv", "steps.csv"] {
        try tear(killed + "/" + name, after: saved.step, next)
      }
    }
    for name in ["log.csv", "steps.csv"] {
      #expect(try text(killed, name) == text(whole, name), "seed \(seed), \(kills) kills")
    }
  }

  /// Cuts a piece of the last row, if it is one that the checkpoint does not know.
  private func tear(_ path: String, after step: Int, _ next: (Int) -> Int) throws {
    let table = try CSVTable.read(path: path)
    guard let last = table.column("step")?.last.flatMap({ Int($0) }), last > step else { return }
    let length = table.text.utf8.count
    let row = CSVTable.line(table.rows[table.rows.count - 1]).utf8.count
    #expect(truncate(path, off_t(length - next(row + 1))) == 0)
  }

  /// A run that goes on with another validation: old rows keep their values, new ones theirs.
  @Test func otherColumns() throws {
    try withTemporaryFolder { folder in
      var log = CSVLog()
      try log.began(Records.run(folder))
      try log.epoch(Records.epoch(1, names: ["loss", "top5"]))
      log = CSVLog()
      try log.began(Records.run(folder, resumedStep: 7))
      try log.epoch(Records.epoch(2, names: ["loss", "ema_loss"]))
      try log.epoch(Records.epoch(3, names: ["loss", "ema_loss"]))
      let table = try CSVTable.read(path: folder + "/log.csv")
      #expect(table.column("step") == ["7", "14", "21"])
      #expect(table.column("val_top5") == ["0.125", "", ""])
      #expect(table.column("val_ema_loss") == ["", "0.25", "0.375"])
      #expect(table.column("val_loss") == ["0.125", "0.25", "0.375"])
    }
  }

  @Test func anotherFileIsNamed() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/log.csv"
      for text in ["a,b\n1,2,3\n", "a,a\n1,2\n"] {
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        let error = #expect(throws: ABNError.self) {
          try CSVLog().began(Records.run(folder, resumedStep: 7))
        }
        #expect(error?.description.contains(path) == true, "\(text)")
        #expect(try self.text(folder, "log.csv") == text)
      }
      // Excel's line breaks are no mistake.
      try "step,x\r\n7,1\r\n14,2\r\n".write(toFile: path, atomically: false, encoding: .utf8)
      try CSVLog().began(Records.run(folder, resumedStep: 13))
      #expect(try text(folder, "log.csv") == "step,x\n7,1\n")
    }
  }
}
