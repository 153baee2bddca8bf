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

  /// `epoch 3/10  step 40/156  loss 0.1234  accuracy 95.31 %  8123 images/s  0:42 left  peak 95 MiB`
  public var line: String {
    let width = String(stepsPerEpoch).count
    let done = String(repeating: " ", count: width - String(step).count) + "\(step)"
    var text =
      "epoch \(epoch + 1)/\(epochs)  step \(done)/\(stepsPerEpoch)"
      + String(format: "  loss %.4f  accuracy %.2f %%", loss, accuracy * 100)
      + String(format: "  %.0f images/s", imagesPerSecond)
    let left = Int(secondsLeft.rounded())
    text += "  " + Self.clock(left) + " left"
    if let peak = ProcessMemory.peakBytes { text += "  peak \(describeBytes(peak))" }
    if isEndOfEpoch, let evaluation {
      text += String(
        format: "  held out: loss %.4f accuracy %.2f %%", evaluation.loss,
        evaluation.accuracy * 100)
    }
    return text
  }
}
