import ABNImages
import ABNTensors
import Foundation

/// What a run is, before its first step.
package struct RunRecord: Sendable, Codable, Equatable {
  /// The network, and what it is trained on.
  package var model, data: String
  /// The run's folder.
  package var folder: String
  /// Passes over the data, steps of each, images of a step.
  package var epochs, stepsPerEpoch, batchSize: Int
  /// Pictures to train and to validate on.
  package var trainCount, validationCount: Int
  /// The classes.
  package var classCount: Int
  /// Trained numbers.
  package var parameterCount: Int
  /// Steps that were done when the run went on from a checkpoint; 0: it is a new one.
  package var resumedStep: Int
  /// What the plan says that the run needs.
  package var plannedPeakBytes: Int
  /// The settings, by their names on the command line.
  package var settings: [String: String]

  package init(
    model: String, data: String, folder: String, epochs: Int, stepsPerEpoch: Int, batchSize: Int,
    trainCount: Int, validationCount: Int, classCount: Int, parameterCount: Int,
    resumedStep: Int = 0, plannedPeakBytes: Int, settings: [String: String]
  ) {
    (self.model, self.data, self.folder) = (model, data, folder)
    (self.epochs, self.stepsPerEpoch, self.batchSize) = (epochs, stepsPerEpoch, batchSize)
    (self.trainCount, self.validationCount) = (trainCount, validationCount)
    (self.classCount, self.parameterCount) = (classCount, parameterCount)
    (self.resumedStep, self.plannedPeakBytes) = (resumedStep, plannedPeakBytes)
    self.settings = settings
  }
}

/// A step of training that has been done.
package struct StepRecord: Sendable, Codable, Equatable {
  /// Steps done in all passes, this one included: the first is 1.
  package var step: Int
  /// The pass, from 1.
  package var epoch: Int
  /// Steps done in this pass, this one included.
  package var stepInEpoch: Int
  /// The mean loss of this step's pictures.
  package var loss: Double
  /// The share of them that is predicted right, 0...1; nil where the task has no such number, or
  /// mixed labels none that means something.
  package var accuracy: Double?
  /// The learning rate of this step.
  package var learningRate: Double
  /// Pictures a second, over the last steps.
  package var imagesPerSecond: Double
  /// The share of that time that was spent waiting for data, 0...1.
  package var waitShare: Double

  package init(
    step: Int, epoch: Int, stepInEpoch: Int, loss: Double, accuracy: Double?,
    learningRate: Double, imagesPerSecond: Double, waitShare: Double
  ) {
    (self.step, self.epoch, self.stepInEpoch) = (step, epoch, stepInEpoch)
    (self.loss, self.accuracy, self.learningRate) = (loss, accuracy, learningRate)
    (self.imagesPerSecond, self.waitShare) = (imagesPerSecond, waitShare)
  }
}

/// A number with its name.
package struct NamedValue: Sendable, Codable, Equatable {
  /// Letters, digits and `_`: `loss`, `accuracy`, `top5`, `meanIoU`.
  package var name: String
  /// The number: a share in 0...1, or, where the name ends in `loss`, a loss.
  package var value: Double
  private var isLoss: Bool { name.hasSuffix("loss") }
  /// How it is shown: `top5 99.80 %`, `loss 0.1234`.
  package var text: String {
    "\(name) " + (isLoss ? String(format: "%.4f", value) : String(format: "%.2f %%", value * 100))
  }
  /// How it is shown where there is little room: `acc 95.3 %`.
  var shortText: String {
    (name == "accuracy" ? "acc" : name)
      + (isLoss ? String(format: " %.3f", value) : String(format: " %.1f %%", value * 100))
  }

  package init(_ name: String, _ value: Double) { (self.name, self.value) = (name, value) }
}

/// A pass over the training data that has been done, with its validation.
package struct EpochRecord: Sendable, Codable, Equatable {
  /// The pass, from 1.
  package var epoch: Int
  /// Steps done in all passes.
  package var step: Int
  /// The mean training loss and accuracy of the pass.
  package var trainLoss: Double
  package var trainAccuracy: Double?
  /// What came out on the validation data, the same names in each pass, in the order in which they
  /// are shown; empty where there was no validation.
  package var validation: [NamedValue]
  /// The learning rate of the pass's last step.
  package var learningRate: Double
  /// Seconds of the pass, validation included.
  package var seconds: Double
  /// Training pictures a second, validation left out.
  package var imagesPerSecond: Double
  /// The share of the training time that was spent waiting for data.
  package var waitShare: Double
  /// Whether it is the best pass so far.
  package var isBest: Bool

  package init(
    epoch: Int, step: Int, trainLoss: Double, trainAccuracy: Double?, validation: [NamedValue],
    learningRate: Double, seconds: Double, imagesPerSecond: Double, waitShare: Double,
    isBest: Bool
  ) {
    (self.epoch, self.step) = (epoch, step)
    (self.trainLoss, self.trainAccuracy) = (trainLoss, trainAccuracy)
    (self.validation, self.learningRate) = (validation, learningRate)
    (self.seconds, self.imagesPerSecond) = (seconds, imagesPerSecond)
    (self.waitShare, self.isBest) = (waitShare, isBest)
  }
}

/// How a run ended.
package struct EndRecord: Sendable, Codable, Equatable {
  /// Why it ended.
  package enum Reason: String, Sendable, Codable {
    /// All passes are done.
    case finished
    /// Ctrl-C, or another signal that asks to stop.
    case interrupted
    /// Validation did not get better for long enough.
    case earlyStopped
    /// The time that was given is used up.
    case timeBudget
    /// An error.
    case failed
  }

  package var reason: Reason
  /// What the error says, which the command prints too; nil where there is none.
  package var failure: String?
  /// Whole passes and steps done, those before a resumption included.
  package var epochsDone, stepsDone: Int
  /// Seconds since the start, those before a resumption included.
  package var seconds: Double
  /// The pass that validated best, from 1; nil where none did.
  package var bestEpoch: Int?
  /// The saved model; nil where none was saved.
  package var modelPath: String?

  package init(
    reason: Reason, failure: String? = nil, epochsDone: Int, stepsDone: Int,
    seconds: Double, bestEpoch: Int?, modelPath: String?
  ) {
    (self.reason, self.failure) = (reason, failure)
    (self.epochsDone, self.stepsDone) = (epochsDone, stepsDone)
    (self.seconds, self.bestEpoch, self.modelPath) = (seconds, bestEpoch, modelPath)
  }
}

/// A picture to be looked at.
package struct SamplePicture: Sendable, Equatable {
  /// Under which name it is shown: `train/0`. A later one of the same name is its next state.
  package var name: String
  /// Grey or in colours.
  package var picture: Picture

  package init(name: String, picture: Picture) { (self.name, self.picture) = (name, picture) }

  /// A picture in colours.
  ///
  /// - Parameter pixels: red, green and blue of each pixel, row by row.
  package init(name: String, width: Int, height: Int, pixels: [UInt8]) {
    self.init(
      name: name,
      picture: Picture(
        size: PictureSize(height: height, width: width), channels: 3, bytes: pixels))
  }
}

/// Is told how a run goes: by one thread, in the order of the run. What it throws ends the run, and
/// the last checkpoint stays.
///
/// The order is: `began`; then for each pass its steps, and `epoch` with `weights` and `pictures`
/// around it as the loop likes; `willSaveCheckpoint` before each checkpoint; `ended`. An `epoch` is
/// told before the checkpoint of its end is written, so that a run that goes on from that
/// checkpoint has its row.
package protocol TrainingObserver: AnyObject {
  /// The first step comes next; after a resumption it is step `resumedStep + 1`.
  func began(_ run: RunRecord) throws
  func step(_ record: StepRecord) throws
  /// Validation after a pass begins or goes on: `done` of `count` pictures.
  func validating(done: Int, count: Int) throws
  func epoch(_ record: EpochRecord) throws
  /// The trained numbers after a step. `read` copies them out of the backend's memory, for those
  /// who want them.
  func weights(step: Int, _ read: () throws -> [(name: String, value: Tensor)]) throws
  /// Pictures of the task after a step: what is fed, or what came out. `draw` makes them, for those
  /// who want them.
  func pictures(step: Int, _ draw: () throws -> [SamplePicture]) throws
  /// A checkpoint of this step is written next: what was told so far is to be on the disk.
  func willSaveCheckpoint(step: Int) throws
  func ended(_ record: EndRecord) throws
}

extension TrainingObserver {
  package func began(_ run: RunRecord) throws {}
  package func step(_ record: StepRecord) throws {}
  package func validating(done: Int, count: Int) throws {}
  package func epoch(_ record: EpochRecord) throws {}
  package func weights(step: Int, _ read: () throws -> [(name: String, value: Tensor)]) throws {}
  package func pictures(step: Int, _ draw: () throws -> [SamplePicture]) throws {}
  package func willSaveCheckpoint(step: Int) throws {}
  package func ended(_ record: EndRecord) throws {}
}

/// Tells several observers, each in turn.
package final class TrainingObservers: TrainingObserver {
  private let all: [any TrainingObserver]

  package init(_ all: [any TrainingObserver]) { self.all = all }

  package func began(_ run: RunRecord) throws { try all.forEach { try $0.began(run) } }
  package func step(_ record: StepRecord) throws { try all.forEach { try $0.step(record) } }
  package func validating(done: Int, count: Int) throws {
    try all.forEach { try $0.validating(done: done, count: count) }
  }
  package func epoch(_ record: EpochRecord) throws { try all.forEach { try $0.epoch(record) } }

  /// Reads the weights once, and only where somebody wants them.
  package func weights(
    step: Int, _ read: () throws -> [(name: String, value: Tensor)]
  ) throws {
    var known: [(name: String, value: Tensor)]?
    for one in all {
      try one.weights(step: step) {
        let values = try known ?? read()
        known = values
        return values
      }
    }
  }

  /// Draws the pictures once, and only where somebody wants them.
  package func pictures(step: Int, _ draw: () throws -> [SamplePicture]) throws {
    var known: [SamplePicture]?
    for one in all {
      try one.pictures(step: step) {
        let values = try known ?? draw()
        known = values
        return values
      }
    }
  }

  package func willSaveCheckpoint(step: Int) throws {
    try all.forEach { try $0.willSaveCheckpoint(step: step) }
  }

  /// Every observer is told, also where one before it fails; the first error is thrown.
  package func ended(_ record: EndRecord) throws {
    var first: (any Error)?
    for one in all {
      do { try one.ended(record) } catch { first = first ?? error }
    }
    if let first { throw first }
  }
}
