import ABNImages
import ArgumentParser
import InPlaceABN

/// Which pictures, how they are read, and how they are changed.
struct PictureOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The share of each class that is held out, where the data are not divided.",
      valueName: "share"))
  var valSplit = 0.2

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Pictures are seen at this size; default: that of the data, 224 of a folder's; of those with masks a "
        + "square part of it.",
      valueName: "pixels"))
  var imageSize: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "How pictures are changed: \(AugmentationName.allCases.map(\.rawValue).joined(separator: ", ")); "
        + "basic is what is usual for the data.", valueName: "name"))
  var augment = "basic"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Brightness, contrast and saturation change by up to this share.", valueName: "share"))
  var colorJitter: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("With this probability a rectangle is erased.", valueName: "share"))
  var randomErasing = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Two pictures are added, by weights of Beta(alpha, alpha).", valueName: "alpha"))
  var mixup = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "A rectangle is replaced by that of another picture, of Beta(alpha, alpha) of the area.",
      valueName: "alpha"))
  var cutmix = 0.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The share of a label that is spread over all classes.", valueName: "share"))
  var labelSmoothing = 0.0

  @Flag(
    inversion: .prefixedNo,
    help: "Train on the images too that do not fill the last batch of an epoch.")
  var keepLast = false

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The threads that prepare batches.", valueName: "count"))
  var workers = 2

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Keep decoded pictures in memory up to so much: 500MB, 2GiB.", valueName: "bytes"))
  var cache: String?

  @Flag(
    inversion: .prefixedNo, help: "Leave out pictures that cannot be read, and say how many.")
  var skipBroken = false

  @OptionGroup var masks: MaskOptions

  @OptionGroup var scenes: SceneOptions

  /// - Throws: `ABNError(.name)` for an unknown augmentation, `.attribute` for a number out of
  ///   range.
  func apply(to settings: inout TrainingSettings) throws {
    settings.dataOptions.validationShare = valSplit
    settings.dataOptions.skipsBroken = skipBroken
    settings.dataOptions.threads = workers
    settings.dataOptions.cacheBytes = try cache.map { try ByteCount.parse($0, "--cache") } ?? 0
    settings.dataOptions.geometry = imageSize.map { PictureGeometry(side: $0) }
    guard let name = AugmentationName(rawValue: augment) else {
      throw ABNError(
        unknown: augment, "--augment", names: AugmentationName.allCases.map(\.rawValue))
    }
    settings.augmentation = name.augmentation(for: settings.data)
    settings.augmentation.jitter = colorJitter.map {
      ColourJitter(brightness: $0, contrast: $0, saturation: $0)
    }
    settings.augmentation.erasing = randomErasing
    settings.augmentation.mixup = mixup
    settings.augmentation.cutmix = cutmix
    settings.augmentation.labelSmoothing = labelSmoothing
    settings.dropsLast = !keepLast
    settings.workers = workers
    try masks.apply(to: &settings.dataOptions)
    try scenes.apply(to: &settings)
    guard settings.data.hasMasks else {
      let isGiven = scenes.isGiven || masks.classFile != nil || masks.ignoreIndex != nil
      return try requireNone(isGiven, "options of masks", settings)
    }
    settings.dataOptions.geometry = nil
    if settings.dataOptions.cropSize == nil {
      settings.dataOptions.cropSize = imageSize.map { PictureSize(side: $0) }
    }
  }
}

/// How weights are changed.
struct OptimizationOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      OptimizerSettings.Name.allCases.map(\.rawValue).joined(separator: ", ") + ".",
      valueName: "name"))
  var optimizer = "momentum"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Momentum of the optimizer of that name, in 0..<1; default: 0.9.", valueName: "number"))
  var momentum: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The two shares of adam, adamw and lamb that stay; default: 0.9,0.999.", valueName: "a,b"))
  var betas: String?

  @Flag(
    inversion: .prefixedNo,
    help: "Decay scales, shifts and biases too, not the weights alone.")
  var decayAll = true

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The learning rate of a layer is this times that of the next.", valueName: "factor"))
  var layerDecay = 1.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The course of the learning rate: "
        + ScheduleSettings.Name.allCases.map(\.rawValue).joined(separator: ", ") + ".",
      valueName: "name"))
  var schedule = "one-cycle"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Epochs in which the rate rises; default: none, 0.3 of a one-cycle.", valueName: "count"))
  var warmupEpochs: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "A bound on gradients: none, value:X, norm:X, or global:X for all together.",
      valueName: "bound"))
  var clip = "none"

  @Option(
    parsing: .unconditional, help: ArgumentHelp("The batches of one update.", valueName: "count"))
  var accumulate = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Evaluate and save an average of the weights with this decay: 0.999, say.",
      valueName: "decay"))
  var ema: Double?

  /// - Throws: `ABNError(.name)` that names the nearest.
  func apply(to settings: inout TrainingSettings) throws {
    func named<Name: RawRepresentable & CaseIterable>(
      _ text: String, _ option: String, _ type: Name.Type
    ) throws -> Name where Name.RawValue == String {
      if let found = Name(rawValue: text) { return found }
      throw ABNError(unknown: text, option, names: Name.allCases.map(\.rawValue))
    }
    settings.optimizer.name = try named(optimizer, "--optimizer", OptimizerSettings.Name.self)
    let usual = (momentum: settings.momentum, betas: settings.optimizer.betas)
    settings.momentum = momentum ?? usual.momentum
    settings.optimizer.betas = try betas.map(OptimizerSettings.Betas.init(parsing:)) ?? usual.betas
    noteUnless(
      settings.optimizer.name.hasMomentum || settings.momentum == usual.momentum, "--momentum")
    noteUnless(
      settings.optimizer.name.hasBetas || settings.optimizer.betas == usual.betas, "--betas")
    // Nothing is recorded of what means nothing.
    if !settings.optimizer.name.hasMomentum { settings.momentum = usual.momentum }
    if !settings.optimizer.name.hasBetas { settings.optimizer.betas = usual.betas }
    settings.optimizer.decaysNormAndBias = decayAll
    settings.optimizer.layerDecay = layerDecay
    settings.optimizer.clip = try ClipSettings(parsing: clip)
    settings.schedule = try named(schedule, "--schedule", ScheduleSettings.Name.self)
    settings.warmupEpochs = warmupEpochs
    settings.accumulate = accumulate
    settings.ema = ema
  }

  private func noteUnless(_ holds: Bool, _ option: String) {
    if !holds { writeError("note: \(option) means nothing to --optimizer \(optimizer)\n") }
  }
}

/// What a run begins with, when it ends, and what it keeps.
struct RunOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Begin with the weights of a file: safetensors, PyTorch's, .pdparams, .npz.",
      valueName: "file"))
  var weights: String?

  @Flag(
    inversion: .prefixedNo, help: "Take weights of a network with another activation, too.")
  var adapt = false

  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Parameters that stay as they are, by name, beginning or pattern (*); may be given repeatedly.",
      valueName: "pattern"))
  var freeze: [String] = []

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "What the run may hold beside its first bytes: 800MB, 2GiB.", valueName: "bytes"))
  var memoryBudget: String?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Steps of an epoch at most.", valueName: "count"))
  var limitBatches: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Learn so many batches by heart: a network that cannot has a fault.", valueName: "count"))
  var overfit: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Batches that are evaluated before the first step, to see that they can be.",
      valueName: "count"))
  var sanityBatches = 1

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "End after so many epochs without a better evaluation.", valueName: "epochs"))
  var patience: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("End after such a time: 90s, 40m, 2h.", valueName: "time"))
  var timeBudget: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Write a checkpoint at the first step after so many minutes.", valueName: "count"))
  var checkpointMinutes = 1.0

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Keep a checkpoint of every so many epochs.", valueName: "count"))
  var checkpointEpochs: Int?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Keep so many of these, the newest.", valueName: "count"))
  var keepCheckpoints = 3

  @Flag(
    inversion: .prefixedNo,
    help: "Write report.html, a page about the run, at its end.")
  var report = true

  /// - Throws: `ABNError(.attribute)` for what is no time or no number of bytes.
  func apply(to settings: inout TrainingSettings) throws {
    settings.weights = weights
    settings.adapts = adapt
    settings.freeze = freeze
    settings.memoryBudget = try memoryBudget.map { try ByteCount.parse($0, "--memory-budget") }
    settings.limitBatches = limitBatches
    settings.overfit = overfit
    settings.sanityBatches = sanityBatches
    settings.patience = patience
    settings.timeBudget = try timeBudget.map { try Self.seconds($0) }
    settings.checkpoints.everyMinutes = checkpointMinutes
    settings.checkpoints.everyEpochs = checkpointEpochs
    settings.checkpoints.limit = keepCheckpoints
  }

  /// `90`, `90s`, `40m`, `2h` in seconds.
  static func seconds(_ text: String) throws -> Double {
    let factors: [Character: Double] = ["s": 1, "m": 60, "h": 3600]
    let factor = text.last.flatMap { factors[$0] }
    guard let number = Double(factor == nil ? text : String(text.dropLast())), number > 0,
      number.isFinite
    else {
      throw ABNError(
        .attribute, "--time-budget", got: quoted(text), wanted: "a time as 90s, 40m or 2h")
    }
    return number * (factor ?? 1)
  }
}
