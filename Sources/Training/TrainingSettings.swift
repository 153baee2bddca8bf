import ABNActivations
import ABNData
import ABNLayers
import ABNModels
import ABNOperators
import ABNOptimizers
import ABNTensors

/// Everything that decides what a training run computes.
public struct TrainingSettings: Sendable {
  /// Where the pictures are: `digits`, `mnist:DIR`, `cifar10:DIR`, `folder:DIR` and others.
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
  /// The highest learning rate of the schedule.
  public var learningRate: Double
  /// Momentum (Nesterov's) of the optimizer.
  public var momentum: Double = 0.9
  /// L2 decay, added to the gradient; of `adamw` and `lamb` decay apart from it.
  public var weightDecay: Double
  /// Decides the first weights, the order of the images and their augmentation.
  public var seed: UInt64 = 0
  /// The folder for the model and the summary; made if absent.
  public var output: String

  /// How the data are read.
  package var dataOptions = DataOptions()
  /// How pictures are changed each time that they are seen.
  package var augmentation: Augmentation
  /// Whether the images that do not fill the last batch of an epoch are left out.
  package var dropsLast = true
  /// The threads that prepare batches. They decide nothing.
  package var workers = 2
  /// What a network that segments minimizes.
  package var segmentationLoss = SegmentationLossKind.crossEntropy
  /// What a pixel of each class counts in it.
  package var classWeighting = ClassWeighting.none
  /// Whether the loss of its auxiliary head is added.
  package var usesAuxiliaryHead = false
  /// The optimizer; its rate, momentum and decay are those above.
  package var optimizer: OptimizerSettings = {
    var settings = OptimizerSettings()
    settings.decaysNormAndBias = true
    return settings
  }()
  /// The course of the learning rate.
  package var schedule = ScheduleSettings.Name.oneCycle
  /// Epochs in which the rate rises; nil: none, and three tenths of a one-cycle schedule.
  package var warmupEpochs: Double?
  /// The batches whose gradients make one update.
  package var accumulate = 1
  /// The decay of the average of the weights that is evaluated and saved; nil: the weights
  /// themselves.
  package var ema: Double?
  /// A file of weights to begin with.
  package var weights: String?
  /// Whether weights of a network with another activation are taken.
  package var adapts = false
  /// The parameters that stay as they are: see `Freezing`.
  package var freeze: [String] = []
  /// The most bytes that a run may hold beside what the process held before; nil: the machine's.
  package var memoryBudget: Int?
  /// Whether the batch is the largest that the budget allows, at most `batchSize`.
  package var fitsBatch = false
  /// Steps of an epoch at most; nil: all.
  package var limitBatches: Int?
  /// Trains and evaluates on so many batches of the training data, unchanged and in one order: a
  /// network that cannot learn them by heart has a fault. nil: on all.
  package var overfit: Int?
  /// Batches of the held-out data that are evaluated before the first step, so that what would end
  /// the first evaluation ends the run at once.
  package var sanityBatches = 1
  /// What to do with a run that the folder holds already.
  package var existing = ExistingRun.refused
  /// When checkpoints are written, and which are kept.
  package var checkpoints = CheckpointPolicy()
  /// Epochs without a better evaluation after which the run ends; nil: it does not.
  package var patience: Int?
  /// Seconds of all processes of the run after which it ends; nil: it does not.
  package var timeBudget: Double?

  /// Settings with the defaults for this data.
  public init(data: DataSource, model: Model, output: String) {
    self.data = data
    self.model = model
    self.output = output
    augmentation = data.usualAugmentation
    switch data {
    // Few images want much decay.
    case .digits: (epochs, batchSize, learningRate, weightDecay) = (100, 128, 0.1, 2e-2)
    case .mnist, .idx: (epochs, batchSize, learningRate, weightDecay) = (5, 64, 0.1, 5e-4)
    case .cifar10, .cifar100, .npy:
      (epochs, batchSize, learningRate, weightDecay) = (10, 128, 0.2, 5e-4)
    // Photographs are large.
    case .folder: (epochs, batchSize, learningRate, weightDecay) = (30, 32, 0.05, 1e-4)
    case .pairs, .voc, .cityscapes, .coco:
      (epochs, batchSize, learningRate, weightDecay) = (60, 8, 0.05, 1e-4)
    }
  }

  /// - Throws: `ABNError(.attribute)` for a number outside its range.
  public func validate() throws {
    func require(_ holds: Bool, _ what: String, _ got: String, _ wanted: String) throws {
      if !holds { throw ABNError(.attribute, what, got: got, wanted: wanted) }
    }
    func requireCount(_ count: Int?, _ what: String, least: Int = 1) throws {
      try require(count ?? least >= least, what, "\(count ?? 0)", "at least \(least)")
    }
    let mostEpochs = 1_000_000_000
    try requireCount(epochs, "epochs")
    try require(epochs <= mostEpochs, "epochs", "\(epochs)", "at most \(mostEpochs)")
    try requireCount(batchSize, "batch size", least: 2)
    try require(
      learningRate > 0 && learningRate <= Schedule.largestRate, "learning rate",
      "\(learningRate)", "a positive number that float32 holds")
    try require((0..<1).contains(momentum), "momentum", "\(momentum)", "a number in 0..<1")
    try require(
      weightDecay >= 0 && weightDecay <= Schedule.largestRate, "weight decay", "\(weightDecay)",
      "a finite number, 0 or more, that float32 holds")
    try activation.requireFinite()
    try require(!output.isEmpty, "output", "an empty path", "a folder")
    try require(
      (1...1024).contains(workers), "workers", "\(workers)", "1...1024")
    try requireCount(accumulate, "batches of an update")
    try require(
      warmupEpochs.map { $0 >= 0 && $0 <= Double(epochs) } ?? true, "warm-up",
      "\(warmupEpochs ?? 0) epochs of \(epochs)", "0 to the epochs of the run")
    try require(
      ema.map { (0..<1).contains($0) } ?? true, "decay of the weights' average", "\(ema ?? 0)",
      "a number in 0..<1")
    try require(
      !usesAuxiliaryHead || model.auxiliaryHead != nil, "auxiliary head",
      "\(model.name), which has none",
      Model.all.filter { $0.auxiliaryHead != nil }.map(\.name).joined(separator: ", "))
    try requireCount(patience, "patience, in epochs")
    try require(
      timeBudget.map { $0 > 0 && $0.isFinite } ?? true, "time budget", "\(timeBudget ?? 0) s",
      "a time above 0")
    try requireCount(limitBatches, "limit of batches")
    try requireCount(overfit, "batches to overfit")
    try requireCount(sanityBatches, "sanity batches", least: 0)
    try requireCount(memoryBudget, "memory budget, in bytes")
    try checkpoints.validate()
    try dataOptions.validate()
    try augmentation.validate()
    _ = try optimizerSettings.make(schedule: learningRate)
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
    try require(
      everyEpochs.map { $0 >= 1 } ?? true, "kept every so many epochs", "\(everyEpochs ?? 0)",
      "at least 1")
    try require(limit >= 1, "limit", "\(limit)", "at least 1")
  }
}
