import ABNInspection
import ABNTensors
import Foundation

/// How a training run goes: what the progress line shows.
public struct TrainingProgress: Sendable {
  /// Passes over the data.
  public let epochs: Int
  /// Steps of a pass.
  public let stepsPerEpoch: Int
  /// Images of a step.
  public let batchSize: Int
  /// The pass that runs, from 0.
  public private(set) var epoch = 0
  /// Steps done in this pass.
  public private(set) var step = 0
  /// Whole passes done.
  public private(set) var epochsDone = 0
  /// The held-out result after the last whole pass.
  public private(set) var evaluation: Evaluation?
  /// Whether the last report is the end of a pass.
  public var isEndOfEpoch: Bool { evaluation != nil && epochsDone == epoch + 1 }

  private var lossSum = 0.0
  private var accuracySum = 0.0
  /// Steps done in all passes.
  public private(set) var stepsDone = 0
  private let start = ContinuousClock.now
  private var stepSeconds = 0.0
  private var mark = ContinuousClock.now

  init(epochs: Int, stepsPerEpoch: Int, batchSize: Int) {
    self.epochs = epochs
    self.stepsPerEpoch = stepsPerEpoch
    self.batchSize = batchSize
  }

  /// The mean training loss of this pass so far.
  public var loss: Double { lossSum / Double(max(step, 1)) }
  /// The mean training accuracy of this pass so far.
  public var accuracy: Double { accuracySum / Double(max(step, 1)) }
  /// Seconds since the start.
  public var seconds: Double { Self.seconds(since: start) }
  /// Training images a second, evaluation left out.
  public var imagesPerSecond: Double {
    stepSeconds > 0 ? Double(stepsDone * batchSize) / stepSeconds : 0
  }
  /// Seconds until all passes are done, at the speed so far.
  public var secondsLeft: Double {
    stepsDone == 0
      ? 0 : seconds / Double(stepsDone) * Double(epochs * stepsPerEpoch - stepsDone)
  }

  private static func seconds(since start: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = start.duration(to: .now).components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }

  /// 65 as `1:05`, 3665 as `1:01:05`.
  static func clock(_ seconds: Int) -> String {
    seconds < 3600
      ? String(format: "%d:%02d", seconds / 60, seconds % 60)
      : String(format: "%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60)
  }

  mutating func beginEpoch(_ epoch: Int) {
    self.epoch = epoch
    (step, lossSum, accuracySum) = (0, 0, 0)
    mark = .now
  }

  mutating func add(loss: Double, accuracy: Double) {
    step += 1
    stepsDone += 1
    lossSum += loss
    accuracySum += accuracy
    stepSeconds += Self.seconds(since: mark)
    mark = .now
  }

  mutating func endEpoch(_ evaluation: Evaluation) {
    self.evaluation = evaluation
    epochsDone = epoch + 1
  }

  /// `epoch 3/10  step 40/156  loss 0.1234  accuracy 95.31 %  8123 images/s  0:42 left  peak 95
  /// MiB`; at the end of a pass also what came out on the held-out data.
  public var line: String { fields.map(\.text).joined(separator: "  ") }

  /// The fields of `line` that have room in so many columns: the last to go are those of the
  /// held-out data, the pass and the loss. What is still too long is cut.
  public func line(columns: Int) -> String {
    var kept = fields
    func text() -> String { kept.map(\.text).joined(separator: "  ") }
    while kept.count > 1, text().count > columns,
      let least = kept.indices.min(by: { kept[$0].weight < kept[$1].weight })
    {
      kept.remove(at: least)
    }
    return String(text().prefix(max(0, columns)))
  }

  /// What is shown, and how much it is worth where there is no room for all.
  private var fields: [(text: String, weight: Int)] {
    let width = String(stepsPerEpoch).count
    let done = String(repeating: " ", count: width - String(step).count) + "\(step)"
    let left = Self.clock(Int(secondsLeft.rounded()))
    var fields = [
      ("epoch \(epoch + 1)/\(epochs)", 7), ("step \(done)/\(stepsPerEpoch)", 5),
      (String(format: "loss %.4f", loss), 6),
      (String(format: "accuracy %.2f %%", accuracy * 100), 3),
      (String(format: "%.0f images/s", imagesPerSecond), 2), ("\(left) left", 4),
    ]
    if let peak = ProcessMemory.peakBytes { fields.append(("peak \(describeBytes(peak))", 1)) }
    if isEndOfEpoch, let evaluation {
      let (loss, accuracy) = (evaluation.loss, evaluation.accuracy * 100)
      fields.append((String(format: "held out: loss %.4f accuracy %.2f %%", loss, accuracy), 8))
    }
    return fields
  }
}
