import ABNData
import ABNGraph
import ABNImages
import ABNModelFiles
import ABNModels
import ABNRuntime
import ABNTensors
import Dispatch
import Synchronization

/// A class for each pixel.
package struct SegmentationTask: TrainingTask {
  let model: Model
  let options: ModelOptions
  /// [C, H, W] of what is seen in training.
  let image: Shape
  let objective: SegmentationObjective
  /// For the sizes of the held-out pictures.
  let networks: SegmentationNetworks
  let view: SegmentationView
  let looksAtBoundaries: Bool

  package init(
    _ model: Model, options: ModelOptions, image: Shape,
    objective: SegmentationObjective = SegmentationObjective(),
    view: SegmentationView = SegmentationView(), looksAtBoundaries: Bool = false
  ) {
    (self.model, self.options, self.image) = (model, options, image)
    (self.objective, self.view) = (objective, view)
    self.looksAtBoundaries = looksAtBoundaries
    networks = SegmentationNetworks(model, options, image: image)
  }

  package func programs(
    seed: UInt64, minimize: (Variable) throws -> Void
  ) throws -> ClassifierPrograms {
    try ClassifierPrograms(
      model, options: options, image: image, seed: seed, objective: objective, minimize: minimize)
  }

  package func feed(_ batch: Batch) -> [String: Tensor] {
    ["images": batch.images, "labels": batch.labels]
  }

  package func newMetrics() -> SegmentationMetrics {
    SegmentationMetrics(classCount: options.classes, looksAtBoundaries: looksAtBoundaries)
  }

  package func withNorm(_ norm: NormStyle) -> SegmentationTask? {
    var options = options
    options.norm = norm
    return SegmentationTask(
      model, options: options, image: image, objective: objective, view: view,
      looksAtBoundaries: looksAtBoundaries)
  }

  /// One picture of the size of the first one, by which sizes are judged.
  package func compileEvaluation(
    _ programs: ClassifierPrograms, _ split: DataSplit, batchSize: Int, workers: Int,
    executor: Executor
  ) throws -> CompiledEvaluation {
    let (_, first) = try split.source.readable(from: 0)
    let size = networks.padded(view.window ?? first.size)
    let network = try networks.network(for: size)
    let executable = try executor.compile(
      network.program, feed: ["images": [1, image[0], size.height, size.width]],
      fetch: [network.probabilities])
    let (pixels, padded) = (first.size.height * first.size.width, size.height * size.width)
    // What is fed and fetched, the scores, the best of each pixel, its class; pairs read ahead.
    let numbers = (image[0] + options.classes) * padded + (options.classes + 1) * pixels
    let pairs = (workers + 1) * (image[0] + 1) * pixels
    return CompiledEvaluation(
      executable: executable, hostBytes: MemoryLayout<Float>.size * numbers + pixels + pairs)
  }

  /// Every picture at its full size, one by one.
  package func evaluate(
    _ programs: ClassifierPrograms, _ split: DataSplit, normalization: ChannelNormalization,
    batchSize: Int, limit: Int?, executor: Executor, scope: Scope, workers: Int,
    report: (Int) throws -> Void
  ) throws -> SegmentationMetrics {
    let segmenter = Segmenter(
      networks,
      rule: PictureRule(
        channels: image[0], geometry: split.geometry, normalization: normalization),
      view: view, executor: executor, scope: scope)
    return try evaluate(split, limit: limit.map { $0 * batchSize }, workers: workers, report) {
      try segmenter.scores(of: $0)
    }
  }

  /// - Parameter limit: so many pictures; nil: all.
  func evaluate(
    _ split: DataSplit, limit: Int? = nil, workers: Int, _ report: (Int) throws -> Void = { _ in },
    scores: (Picture) throws -> PixelScores
  ) throws -> SegmentationMetrics {
    guard let masks = split.masks else {
      throw ABNError(
        .data, "data of a segmentation", got: "pictures without masks", wanted: "a mask for each")
    }
    var metrics = newMetrics()
    let ahead = PairsAhead(split, masks, count: min(split.count, limit ?? .max), workers: workers)
    for index in 0..<ahead.count {
      let (picture, mask) = try ahead.next()
      try metrics.add(try scores(picture), mask: mask, sample: index)
      Interruption.noteStep()
      try report(index + 1)
    }
    return metrics
  }
}

extension Dataset {
  /// The same data with the part that is seen in training filled up to what a network takes.
  package func padded(for sizes: ImageSizes) throws -> Dataset {
    let size = train.geometry.size
    let padded = PictureSize(
      height: sizes.padded(size.height), width: sizes.padded(size.width))
    return padded == size ? self : try seen(at: PictureGeometry(size: padded))
  }
}

/// The first pairs of a split, read ahead on other threads.
final class PairsAhead {
  private final class Pair: Sendable {
    let isRead = DispatchSemaphore(value: 0)
    let result = Mutex<Result<(Picture, Picture), any Error>?>(nil)
  }

  let count: Int
  private let split: DataSplit
  private let masks: MaskFiles
  private let workers: Int
  private let queue = DispatchQueue(label: "pairs", attributes: .concurrent)
  private var begun = 0
  private var waiting: [Pair] = []

  init(_ split: DataSplit, _ masks: MaskFiles, count: Int, workers: Int) {
    (self.split, self.masks, self.count) = (split, masks, count)
    self.workers = max(1, workers)
  }

  /// The next picture and its mask.
  ///
  /// - Throws: why one of them cannot be read.
  func next() throws -> (Picture, Picture) {
    while waiting.count <= workers, begun < count {
      let pair = Pair()
      queue.async { [split, masks, begun] in
        let result = Result {
          let (_, picture, mask) = try split.readablePair(from: begun, masks)
          return (picture, mask)
        }
        pair.result.withLock { $0 = result }
        pair.isRead.signal()
      }
      waiting.append(pair)
      begun += 1
    }
    let pair = waiting.removeFirst()
    pair.isRead.wait()
    return try pair.result.withLock { $0 }!.get()
  }
}
