import ABNInspection
import ABNTensors
import Foundation

/// How far a run is, in a line of any width.
struct ProgressText {
  /// A part of the line.
  private struct Field {
    /// What is shown where there is room, and where there is little.
    let long, short: String
    /// How much it is worth where there is no room for all.
    let weight: Int

    init(_ long: String, _ short: String? = nil, weight: Int) {
      (self.long, self.short, self.weight) = (long, short ?? long, weight)
    }
  }

  private let run: RunRecord
  /// Seconds since the start of this process's part; the largest resident size.
  private let seconds: () -> Double
  private let peakBytes: () -> Int?
  private(set) var step: StepRecord?
  private var lossSum = 0.0
  private var accuracySum = 0.0
  /// Steps of this pass that were told of: of a pass that was resumed, those since then.
  private var stepsSeen = 0
  private var accuraciesSeen = 0
  private var stepsDone: Int
  private var validating: (done: Int, count: Int)?
  private var end: EpochRecord?

  init(
    _ run: RunRecord, seconds: (() -> Double)? = nil,
    peakBytes: @escaping () -> Int? = { ProcessMemory.peakBytes }
  ) {
    let start = ContinuousClock.now
    self.run = run
    self.seconds = seconds ?? { start.duration(to: .now) / .seconds(1) }
    self.peakBytes = peakBytes
    stepsDone = run.resumedStep
  }

  mutating func add(_ record: StepRecord) {
    if record.epoch != step?.epoch {
      (lossSum, accuracySum, stepsSeen, accuraciesSeen) = (0, 0, 0, 0)
    }
    (step, validating, end) = (record, nil, nil)
    stepsDone = record.step
    lossSum += record.loss
    stepsSeen += 1
    if let accuracy = record.accuracy {
      accuracySum += accuracy
      accuraciesSeen += 1
    }
  }

  mutating func validate(done: Int, count: Int) { validating = (done, count) }

  mutating func finish(_ record: EpochRecord) { (end, validating) = (record, nil) }

  /// The line without a limit.
  var line: String { fields.map(\.long).joined(separator: "  ") }

  /// The line in at most so many columns: with its fields in their short forms where the long ones
  /// have no room, then without those that are worth least; what is still too long is cut.
  func line(columns: Int) -> String {
    let fields = fields
    let long = line
    if TerminalText.columns(of: long) <= columns { return long }
    var kept = fields
    func text() -> String { kept.map(\.short).joined(separator: "  ") }
    while kept.count > 1, TerminalText.columns(of: text()) > columns,
      let least = kept.indices.min(by: { kept[$0].weight < kept[$1].weight })
    {
      kept.remove(at: least)
    }
    return TerminalText.prefix(text(), columns: max(0, columns))
  }

  private var fields: [Field] {
    let epoch = end?.epoch ?? step?.epoch ?? 1
    var fields = [Field("epoch \(epoch)/\(run.epochs)", weight: 9)]
    if let validating {
      fields.append(Field("validating \(validating.done)/\(validating.count)", weight: 8))
    } else if let step {
      let done = Self.counter(step.stepInEpoch, of: run.stepsPerEpoch)
      fields.append(Field("step \(done)", done, weight: 6))
    }
    if let loss = end?.trainLoss ?? (stepsSeen > 0 ? lossSum / Double(stepsSeen) : nil) {
      fields.append(
        Field(String(format: "loss %.4f", loss), String(format: "loss %.3f", loss), weight: 7))
    }
    let accuracy =
      end != nil
      ? end?.trainAccuracy : accuraciesSeen > 0 ? accuracySum / Double(accuraciesSeen) : nil
    if let accuracy = accuracy.map({ $0 * 100 }) {
      fields.append(
        Field(
          String(format: "accuracy %.2f %%", accuracy), String(format: "acc %.1f %%", accuracy),
          weight: 5))
    }
    fields += speed
    if let end, !end.validation.isEmpty {
      let values = end.validation.map(\.text).joined(separator: " ")
      let short = end.validation.map(\.shortText).joined(separator: " ")
      // Who lets a network learn batches by heart evaluates on these.
      let what = run.settings["overfit"] == nil ? "held out" : "on the same"
      fields.append(Field("\(what): \(values)", "\(what): \(short)", weight: 10))
      if end.isBest { fields.append(Field("best", weight: 8)) }
    }
    return fields
  }

  private var speed: [Field] {
    guard let step else { return [] }
    let rate = end?.learningRate ?? step.learningRate
    let images = end?.imagesPerSecond ?? step.imagesPerSecond
    let wait = Int(((end?.waitShare ?? step.waitShare) * 100).rounded())
    let left = Self.clock(secondsLeft)
    var fields = [
      Field(String(format: "lr %.3g", rate), String(format: "lr %.2g", rate), weight: 1),
      Field(
        String(format: "%.*f images/s", images < 10 ? 1 : 0, images),
        String(format: "%.*f/s", images < 10 ? 1 : 0, images), weight: 3),
      Field("data wait \(wait) %", "wait \(wait) %", weight: 2),
      Field("\(left) left", weight: 4),
    ]
    if let peak = peakBytes() {
      fields.append(Field("peak \(describeBytes(peak))", weight: 0))
    }
    return fields
  }

  /// Seconds until all passes are done, at the speed since the start of this process.
  private var secondsLeft: Double {
    let here = stepsDone - run.resumedStep
    guard here > 0 else { return 0 }
    return seconds() / Double(here)
      * max(0, Double(run.epochs) * Double(run.stepsPerEpoch) - Double(stepsDone))
  }

  /// 65 as `1:05`, 3665 as `1:01:05`; from 100 hours on whole days.
  private static func clock(_ seconds: Double) -> String {
    let hours = seconds / 3600
    return hours < 100
      ? TrainingProgress.clock(Int(seconds.rounded())) : String(format: "%.0f days", hours / 24)
  }

  /// ` 7/156`: of the same width throughout.
  private static func counter(_ done: Int, of all: Int) -> String {
    String(repeating: " ", count: max(0, "\(all)".count - "\(done)".count)) + "\(done)/\(all)"
  }
}
