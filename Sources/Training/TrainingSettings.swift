import ABNActivations
import ABNData
import ABNModels
import ABNOperators
import ABNTensors

/// Everything that decides what a training run computes.
public struct TrainingSettings: Sendable {
  /// `digits`, `mnist:DIR` or `cifar10:DIR`.
  public var data: DataSource
  /// Which network.
  public var model: Model
  /// In place or standard normalization.
  public var norm: NormStyle = .inplace
  /// The activation after a normalization.
  public var activation: Activation = .leakyReLU(slope: ModelOptions.usualSlope)
  /// Passes over the training data.
  public var epochs: Int
  /// Images a step.
  public var batchSize: Int
  /// The highest learning rate of the one-cycle schedule.
  public var learningRate: Double
  /// Momentum (Nesterov's) of the optimizer.
  public var momentum: Double = 0.9
  /// L2 decay, added to the gradient.
  public var weightDecay: Double
  /// Decides the first weights, the order of the images and their augmentation.
  public var seed: UInt64 = 0
  /// The folder for the model and the summary; made if absent.
  public var output: String

  /// What to do with a run that the folder holds already.
  package var existing = ExistingRun.refused
  /// When checkpoints are written, and which are kept.
  package var checkpoints = CheckpointPolicy()
  /// Epochs without a better evaluation after which the run ends; nil: it does not.
  package var patience: Int?
  /// Seconds of all processes of the run after which it ends; nil: it does not.
  package var timeBudget: Double?
  /// Batches of the held-out data that are evaluated before the first step, so that what would end
  /// the first evaluation ends the run at once.
  package var sanityBatches = 1
  /// Steps of an epoch at most; nil: all.
  package var limitBatches: Int?

  /// Settings with the defaults for this data.
  public init(data: DataSource, model: Model, output: String) {
    self.data = data
    self.model = model
    self.output = output
    switch data {
    // Few images want much decay.
    case .digits: (epochs, batchSize, learningRate, weightDecay) = (100, 128, 0.1, 2e-2)
    case .mnist: (epochs, batchSize, learningRate, weightDecay) = (5, 64, 0.1, 5e-4)
    case .cifar10, .cifar100, .idx, .npy:
      (epochs, batchSize, learningRate, weightDecay) = (10, 128, 0.2, 5e-4)
    case .folder: (epochs, batchSize, learningRate, weightDecay) = (30, 32, 0.05, 1e-4)
    }
  }

  /// - Throws: `ABNError(.attribute)` for a number outside its range.
  public func validate() throws {
    func require(_ holds: Bool, _ what: String, _ got: String, _ wanted: String) throws {
      if !holds { throw ABNError(.attribute, what, got: got, wanted: wanted) }
    }
    let mostEpochs = 1_000_000_000
    try require(epochs >= 1, "epochs", "\(epochs)", "at least 1")
    try require(epochs <= mostEpochs, "epochs", "\(epochs)", "at most \(mostEpochs)")
    try require(batchSize >= 2, "batch size", "\(batchSize)", "at least 2")
    try require(
      learningRate > 0 && learningRate <= Schedule.largestRate, "learning rate",
      "\(learningRate)", "a positive number that float32 holds")
    try require((0..<1).contains(momentum), "momentum", "\(momentum)", "a number in 0..<1")
    try require(
      weightDecay >= 0 && weightDecay <= Schedule.largestRate, "weight decay", "\(weightDecay)",
      "a finite number, 0 or more, that float32 holds")
    try activation.requireFinite()
    try require(
      patience.map { $0 >= 1 } ?? true, "patience", "\(patience ?? 0)", "at least 1 epoch")
    try require(
      timeBudget.map { $0 > 0 && $0.isFinite } ?? true, "time budget", "\(timeBudget ?? 0) s",
      "a time above 0")
    try require(
      limitBatches.map { $0 >= 1 } ?? true, "limit of batches", "\(limitBatches ?? 0)",
      "at least 1")
    try require(
      sanityBatches >= 0, "sanity batches", "\(sanityBatches)", "0 or more")
    try checkpoints.validate()
    try require(!output.isEmpty, "output", "an empty path", "a folder")
  }
}

/// When a run writes checkpoints, and which it keeps.
package struct CheckpointPolicy: Sendable, Equatable {
  /// The last checkpoint is written at the first step after so many minutes, and when the run ends.
  package var everyMinutes = 1.0
  /// Every so many epochs a checkpoint is kept as `checkpoints/epoch-N.safetensors`; nil: none.
  package var everyEpochs: Int?
  /// Of these the newest so many stay.
  package var limit = 3
  /// Whether the weights of the best evaluation are kept as a model, in `best`.
  package var keepsBest = true

  package init() {}

  func validate() throws {
    func require(_ holds: Bool, _ what: String, _ got: String, _ wanted: String) throws {
      if !holds { throw ABNError(.attribute, "checkpoints: \(what)", got: got, wanted: wanted) }
    }
    try require(
      everyMinutes >= 0 && everyMinutes <= 1e6, "minutes", "\(everyMinutes)", "0 to a million")
    try require(everyEpochs.map { $0 >= 1 } ?? true, "epochs", "\(everyEpochs ?? 0)", "at least 1")
    try require(limit >= 1, "limit", "\(limit)", "at least 1")
  }
}
