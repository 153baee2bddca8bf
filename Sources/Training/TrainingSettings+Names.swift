import ABNData
import ABNModels
import ABNOperators
import ABNOptimizers
import ABNTensors

extension TrainingSettings {
  /// What they say about the model.
  func options(classes: Int) -> ModelOptions {
    ModelOptions(classes: classes, norm: norm, activation: activation)
  }

  /// The optimizer with the rate, the momentum and the decay of these settings.
  var optimizerSettings: OptimizerSettings {
    var settings = optimizer
    settings.learningRate = learningRate
    settings.momentum = momentum
    settings.weightDecay = weightDecay
    return settings
  }

  /// The learning rate of each update.
  ///
  /// - Parameter stepsPerEpoch: batches; an update has `accumulate` of them.
  func rates(stepsPerEpoch: Int) throws -> Schedule {
    let updates = max(1, epochs * stepsPerEpoch / accumulate)
    var settings = ScheduleSettings(schedule, totalSteps: updates)
    settings.warmupSteps = warmupEpochs.map {
      min(updates, Int(($0 * Double(stepsPerEpoch) / Double(accumulate)).rounded()))
    }
    return try settings.make(peak: learningRate)
  }

  /// The settings by their names on the command line.
  package func described(threads: Int) -> [String: String] {
    var named = [
      "data": data.absolute.description, "model": model.name, "norm": norm.rawValue,
      "activation": activation.name, "alpha": "\(activation.alpha ?? 1)", "epochs": "\(epochs)",
      "batch-size": "\(batchSize)", "lr": "\(learningRate)", "momentum": "\(momentum)",
      "weight-decay": "\(weightDecay)", "seed": "\(seed)", "output": output,
      "threads": "\(threads)", "optimizer": optimizer.name.rawValue, "schedule": schedule.rawValue,
      "decay-all": "\(optimizer.decaysNormAndBias)", "clip": "\(optimizer.clip)",
      "accumulate": "\(accumulate)", "layer-decay": "\(optimizer.layerDecay)",
      "betas": "\(optimizer.betas)", "keep-last": "\(!dropsLast)", "workers": "\(workers)",
      "sanity-batches": "\(sanityBatches)", "checkpoint-minutes": "\(checkpoints.everyMinutes)",
      "keep-checkpoints": "\(checkpoints.limit)", "skip-broken": "\(dataOptions.skipsBroken)",
      "val-split": "\(dataOptions.validationShare)", "cache": "\(dataOptions.cacheBytes)",
      "adapt": "\(adapts)",
    ]
    named.merge(augmentationNames) { $1 }
    if data.hasMasks { named.merge(segmentationNames) { $1 } }
    let optional: [(String, (any CustomStringConvertible)?)] = [
      ("warmup-epochs", warmupEpochs), ("ema", ema), ("limit-batches", limitBatches),
      ("overfit", overfit), ("patience", patience), ("time-budget", timeBudget.map { "\($0)s" }),
      ("checkpoint-epochs", checkpoints.everyEpochs), ("memory-budget", memoryBudget),
      ("weights", weights.map(absolutePath)),
      ("freeze", freeze.isEmpty ? nil : freeze.joined(separator: "\n")),
      ("image-size", dataOptions.geometry.map { "\($0.size.height)" }),
    ]
    for (name, value) in optional { named[name] = value.map { "\($0)" } }
    return named
  }

  private var augmentationNames: [String: String] {
    var named = [
      "label-smoothing": "\(augmentation.labelSmoothing)", "mixup": "\(augmentation.mixup)",
      "cutmix": "\(augmentation.cutmix)", "random-erasing": "\(augmentation.erasing)",
      "augment": AugmentationName(of: augmentation).rawValue,
    ]
    named["color-jitter"] = augmentation.jitter.map { "\($0.brightness)" }
    return named
  }

  private var segmentationNames: [String: String] {
    var named = [
      "loss": segmentationLoss.name, "class-weights": classWeighting.rawValue,
      "rotate": "\(augmentation.rotation)", "aux-head": "\(usesAuxiliaryHead)",
    ]
    named["scale-range"] = augmentation.scaling.map { "\($0.lowerBound),\($0.upperBound)" }
    named["crop-size"] = dataOptions.cropSize.map { "\($0.height)x\($0.width)" }
    named["class-file"] = dataOptions.classesFile.map { absolutePath($0) }
    named["ignore-index"] =
      dataOptions.ignoredValues.isEmpty
      ? nil : dataOptions.ignoredValues.map { "\($0)" }.joined(separator: ",")
    return named
  }

  /// Settings that do not decide what the steps of a run compute, and may be others when it goes
  /// on.
  /// Where the data are is one of them: their classes and numbers are compared, see
  /// `TrainingData.identity`. What pixels are is taken from the checkpoint.
  private static let freeNames: Set<String> = [
    "output", "data", "class-file", "threads", "epochs", "workers", "cache", "patience",
    "time-budget",
    "checkpoint-minutes", "checkpoint-epochs", "keep-checkpoints", "memory-budget",
    "sanity-batches", "mean", "deviation", "white",
  ]

  /// - Throws: `ABNError(.file)` with the first setting that a checkpoint's run had otherwise.
  ///
  /// - Parameter identity: that of the data.
  func requireSame(
    as checkpoint: Checkpoint, identity: [String: String], path: String
  ) throws {
    guard let name = difference(from: checkpoint.settings, identity: identity) else { return }
    let own = described(threads: 0).merging(identity) { $1 }
    throw ABNError(
      .file, "checkpoint \(quoted(path)): \(name)",
      got: checkpoint.settings[name] ?? "no such setting",
      wanted: own[name] ?? "no such setting",
      fix: "Resume with the settings that the run was begun with.")
  }

  /// The name of the first setting that decides what steps compute and that another run had
  /// otherwise.
  func difference(from others: [String: String], identity: [String: String] = [:]) -> String? {
    let own = described(threads: 0).merging(identity) { $1 }
    let names = Set(own.keys).union(others.keys).subtracting(Self.freeNames)
    return names.sorted().first { own[$0] != others[$0] }
  }
}

/// How pictures are changed, as `--augment` names it.
package enum AugmentationName: String, Sendable, CaseIterable {
  /// Not at all.
  case none
  /// What is usual for the data: see `DataSource.usualAugmentation`.
  case basic
  /// That and TrivialAugment.
  case trivial
  /// That and RandAugment, two changes of magnitude 9.
  case rand

  init(of augmentation: Augmentation) {
    switch augmentation.policy {
    case .trivial: self = .trivial
    case .random: self = .rand
    case nil:
      let changes =
        augmentation.cropPadding > 0 || augmentation.flipsHorizontally
        || augmentation.distortion > 0 || augmentation.resizedCrop != nil
        || augmentation.scaling != nil
      self = changes ? .basic : .none
    }
  }

  /// The augmentation for data.
  package func augmentation(for data: DataSource) -> Augmentation {
    var augmentation = self == .none ? .none : data.usualAugmentation
    switch self {
    case .none, .basic: break
    case .trivial: augmentation.policy = .trivial
    case .rand: augmentation.policy = .random(changes: 2, magnitude: 9)
    }
    return augmentation
  }
}
