import ABNData
import ABNGraph
import ABNImages
import ABNModelFiles
import ABNModels
import ABNTensors

/// The time of an epoch, and how much of it was spent waiting for data.
struct EpochClock {
  private var start = ContinuousClock.now
  private var steps = 0
  private var waited = 0.0
  private var stepSeconds: Double?

  mutating func begin() { self = EpochClock() }

  /// A step is done.
  ///
  /// - Parameter waited: the seconds of the epoch so far.
  mutating func add(waited: Double) {
    steps += 1
    self.waited = waited
  }

  /// All steps are done: validation comes.
  mutating func endSteps() { stepSeconds = seconds }

  var seconds: Double { start.duration(to: .now) / .seconds(1) }
  private var training: Double { stepSeconds ?? seconds }
  var waitShare: Double { training > 0 ? min(1, waited / training) : 0 }
  func imagesPerSecond(batchSize: Int) -> Double {
    training > 0 ? Double(steps * batchSize) / training : 0
  }
}

extension TrainingLoop {
  /// The learning rate of the step that was done last.
  private var learningRate: Double {
    runPrograms.rates.value(step: max(0, progress.stepsDone - 1) / settings.accumulate)
  }

  func record(loss: Double, accuracy: Double) -> StepRecord {
    StepRecord(
      step: progress.stepsDone, epoch: progress.epoch + 1, stepInEpoch: progress.step, loss: loss,
      accuracy: hasTrainingAccuracy ? accuracy : nil, learningRate: learningRate,
      imagesPerSecond: epochClock.imagesPerSecond(batchSize: settings.batchSize),
      waitShare: epochClock.waitShare)
  }

  func record(_ values: [NamedValue], isBest: Bool) -> EpochRecord {
    EpochRecord(
      epoch: progress.epoch + 1, step: progress.stepsDone, trainLoss: progress.loss,
      trainAccuracy: hasTrainingAccuracy ? progress.accuracy : nil, validation: values,
      learningRate: learningRate, seconds: epochClock.seconds,
      imagesPerSecond: epochClock.imagesPerSecond(batchSize: settings.batchSize),
      waitShare: epochClock.waitShare, isBest: isBest)
  }

  /// Of mixed pictures the label is half of the truth; a segmentation has none.
  private var hasTrainingAccuracy: Bool {
    programs.accuracy != nil && settings.augmentation.mixup == 0
      && settings.augmentation.cutmix == 0
  }

  func runRecord(plannedPeakBytes: Int, resumedStep: Int, threads: Int) -> RunRecord {
    RunRecord(
      model: settings.model.name, data: settings.data.description, folder: files.folder,
      epochs: settings.epochs, stepsPerEpoch: progress.stepsPerEpoch,
      batchSize: settings.batchSize, trainCount: data.trainCount,
      validationCount: data.test.count, classCount: model.options.classes,
      parameterCount: programs.training.trainedParameterCount,
      resumedStep: resumedStep, plannedPeakBytes: plannedPeakBytes,
      settings: settings.described(threads: threads))
  }

  /// - Parameter error: what ended it, where it has failed.
  func endRecord(
    _ reason: EndRecord.Reason, error: (any Error)? = nil, modelPath: String? = nil
  ) -> EndRecord {
    EndRecord(
      reason: reason, failure: error.map { "\($0)" }, epochsDone: progress.epochsDone,
      stepsDone: progress.stepsDone, seconds: seconds,
      bestEpoch: progress.state.best.map { $0.epoch + 1 }, modelPath: modelPath)
  }

  /// Shows the first pictures of a batch, as the network sees them, to those who want them.
  func showPictures(_ feed: [String: Tensor]) throws {
    guard let images = feed["images"] else { return }
    try observers.pictures(step: progress.stepsDone) { [model] in
      let drawn = try SamplePicture.drawn(images.checked(), by: model, most: 8)
      guard let classes = model.pixelClasses, let labels = feed["labels"] else { return drawn }
      return try drawn.enumerated().map { index, sample in
        let mask = try Picture(classes: labels.checked(), of: index)
        return SamplePicture(
          name: sample.name, picture: classes.overlay(mask, upon: sample.picture))
      }
    }
  }
}

extension SamplePicture {
  /// The pictures that normalized values stand for: grey or in colours, and the first channel of
  /// any others.
  ///
  /// - Parameter images: float32 [B, C, H, W].
  static func drawn(_ images: Tensor, by model: ModelFile, most: Int) -> [SamplePicture] {
    (0..<min(most, images.shape[0])).map { number in
      SamplePicture(name: "train/\(number)", picture: model.rule.picture(number, of: images))
    }
  }
}
