import ABNInspection
import ABNModelFiles
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
  /// What a checkpoint keeps.
  package internal(set) var state: TrainingState
  /// The pass that runs, from 0.
  public var epoch: Int { state.epoch }
  /// Steps done in this pass.
  public var step: Int { state.step }
  /// Whole passes done.
  public var epochsDone: Int { state.epochsDone }
  /// The held-out result after the last whole pass.
  public var evaluation: Evaluation? { state.evaluation }
  /// Whether the last report is the end of a pass.
  public var isEndOfEpoch: Bool { evaluation != nil && epochsDone == epoch + 1 }
  /// Steps done in all passes.
  public var stepsDone: Int { state.stepsDone }

  /// Steps of this process, which takes no credit for those before a resumption.
  private var ownSteps = 0
  private let start = ContinuousClock.now
  private var stepSeconds = 0.0
  private var mark = ContinuousClock.now

  init(epochs: Int, stepsPerEpoch: Int, batchSize: Int, state: TrainingState = TrainingState()) {
    self.epochs = epochs
    self.stepsPerEpoch = stepsPerEpoch
    self.batchSize = batchSize
    self.state = state
  }

  /// The mean training loss of this pass so far.
  public var loss: Double { state.lossSum / Double(max(step, 1)) }
  /// The mean training accuracy of this pass so far.
  public var accuracy: Double { state.accuracySum / Double(max(step, 1)) }
  /// Seconds since the start of this process's part.
  public var seconds: Double { Self.seconds(since: start) }
  /// Training images a second, evaluation left out.
  public var imagesPerSecond: Double {
    stepSeconds > 0 ? Double(ownSteps * batchSize) / stepSeconds : 0
  }
  /// Seconds until all passes are done, at the speed so far.
  public var secondsLeft: Double {
    ownSteps == 0
      ? 0 : seconds / Double(ownSteps) * Double(epochs * stepsPerEpoch - stepsDone)
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

  /// The clock of steps starts, or goes on after an evaluation or a checkpoint.
  mutating func resumeClock() { mark = .now }

  mutating func add(loss: Double, accuracy: Double) {
    state.step += 1
    state.stepsDone += 1
    ownSteps += 1
    state.lossSum += loss
    state.accuracySum += accuracy
    let seconds = Self.seconds(since: mark)
    stepSeconds += seconds
    state.times?.steps += seconds
    mark = .now
  }

  /// - Returns: whether this is the best evaluation so far.
  mutating func endEpoch(_ evaluation: Evaluation) -> Bool {
    state.evaluation = evaluation
    state.epochsDone = epoch + 1
    if let best = state.best, best.evaluation.accuracy >= evaluation.accuracy { return false }
    state.best = .init(epoch: epoch, evaluation: evaluation)
    return true
  }

  /// After the report of an epoch's end.
  mutating func openNextEpoch() {
    state.epoch += 1
    (state.step, state.lossSum, state.accuracySum) = (0, 0, 0)
  }

  /// Whether the evaluation is of the weights as they are.
  var evaluationIsCurrent: Bool { evaluation != nil && step == 0 && epochsDone == epoch }

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
