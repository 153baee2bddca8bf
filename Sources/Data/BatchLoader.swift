// Shapes: B pictures of a batch, C channels, H rows, W columns, K classes.

import ABNImages
import ABNTensors

/// Some pictures with their classes, ready to be fed.
public struct Batch: Sendable {
  /// The normalized pictures: float32 [B, C, H, W]. Where one could not be read, a tensor whose
  /// `failure` says which one and why, so that a run with this batch throws it.
  public let images: Tensor
  /// The classes: int64 [B, 1]; [B, 1, H, W] where pixels have them, `PixelClasses.ignored` of
  /// those that do not count. Where pictures are mixed, those of the pictures that others were
  /// added to.
  public let labels: Tensor
  /// The classes as shares: float32 [B, K], every row of sum 1; nil unless labels are smoothed or
  /// pictures mixed.
  package let softLabels: Tensor?
  /// Which pictures of the split these are.
  public let samples: [Int]
  /// The epoch that this batch belongs to.
  public let epoch: Int
  /// The place of this batch in its epoch, from 0.
  public let index: Int

  /// The number of pictures, B.
  public var count: Int { samples.count }
}

/// Makes batches of the pictures of a split: which ones, in which order, changed how.
///
/// A batch is a function of (split, normalization, options, epoch, index): the same bits on every
/// run, on however many threads, whatever was asked before. `epoch(_:)` gives the batches of an
/// epoch one after the other, prepared ahead on another thread.
public struct BatchLoader: Sendable {
  /// What becomes of the pictures that do not fill the last batch of an epoch.
  public enum LastBatch: Sendable, Hashable {
    /// They are left out; with shuffling, others in every epoch.
    case dropped
    /// They make a smaller batch.
    case kept
  }

  /// How batches are made.
  public struct Options: Sendable, Hashable {
    /// The pictures of a batch, B.
    public var batchSize: Int
    /// The seed of order and augmentation.
    public var seed: UInt64
    /// Whether every epoch has an order of its own; else it is that of the split.
    public var isShuffled: Bool
    /// What becomes of the pictures that do not fill the last batch.
    public var lastBatch: LastBatch
    /// How pictures are changed; nil for not at all.
    public var augmentation: Augmentation?
    /// How many batches are prepared ahead on other threads; 0 for no such threads.
    public var prefetchCount: Int
    /// How many threads prepare them, at least 1. The batches do not depend on it.
    package var workers = 1
    /// The number of classes, K: for augmentations that make labels shares of classes.
    package var classCount: Int?

    /// Options; the defaults are those for learning.
    public init(
      batchSize: Int, seed: UInt64 = 0, isShuffled: Bool = true, lastBatch: LastBatch = .dropped,
      augmentation: Augmentation? = nil, prefetchCount: Int = 2
    ) {
      self.batchSize = batchSize
      self.seed = seed
      self.isShuffled = isShuffled
      self.lastBatch = lastBatch
      self.augmentation = augmentation
      self.prefetchCount = prefetchCount
    }
  }

  /// The pictures.
  public let split: DataSplit
  /// How batches are made.
  public let options: Options
  /// The number of batches of an epoch.
  public let batchesPerEpoch: Int

  /// The normalized value of each byte of each channel: 256 per channel.
  let values: [Float]
  /// The colour beside pictures: their mean.
  let outside: [UInt8]

  /// A maker of batches.
  ///
  /// - Throws: `ABNError(.attribute)` for a batch size below 1 or above the number of pictures, a
  ///   negative padding or number of prepared batches, a distortion outside 0..<1;
  ///   `ABNError(.shape)` where the normalization has another number of channels than the pictures;
  ///   `ABNError(.data)` for changes of colour where there are none.
  public init(
    _ split: DataSplit, normalization: ChannelNormalization, options: Options
  ) throws {
    guard options.batchSize >= 1, options.batchSize <= split.count else {
      throw ABNError(
        .attribute, "batch loader: batchSize", got: "\(options.batchSize)",
        wanted: "1...\(split.count), as there are \(split.count) pictures",
        fix: split.count == 0 ? "The split is empty." : "Choose a smaller batch or more data.")
    }
    try options.augmentation?.validate()
    guard options.prefetchCount >= 0, options.prefetchCount <= 1024 else {
      throw ABNError(
        .attribute, "batch loader: prefetchCount", got: "\(options.prefetchCount)",
        wanted: "0...1024")
    }
    guard (1...1024).contains(options.workers) else {
      throw ABNError(
        .attribute, "batch loader: workers", got: "\(options.workers)", wanted: "1...1024")
    }
    try Self.check(options, split)
    guard normalization.mean.count == split.source.channels else {
      throw ABNError(
        .shape, "batch loader: normalization", got: "\(normalization.mean.count) channels",
        wanted: "\(split.source.channels), as the pictures have")
    }
    self.split = split
    self.options = options
    let (full, rest) = split.count.quotientAndRemainder(dividingBy: options.batchSize)
    batchesPerEpoch = full + (rest > 0 && options.lastBatch == .kept ? 1 : 0)
    outside = normalization.mean.map { UInt8(min(max($0.rounded(), 0), 255)) }
    values = zip(normalization.mean, normalization.standardDeviation).flatMap { mean, deviation in
      (0..<256).map { Float((Double($0) - mean) / deviation) }
    }
  }

  private static func check(_ options: Options, _ split: DataSplit) throws {
    guard let augmentation = options.augmentation else { return }
    if split.masks != nil {
      let unfit =
        augmentation.hasSoftLabels
        ? "labels that are shares of classes"
        : augmentation.policy != nil || augmentation.resizedCrop != nil
          || augmentation.distortion > 0 || augmentation.cropPadding > 0
          ? "changes of the picture alone" : nil
      if let unfit {
        throw ABNError(
          .attribute, "batch loader: pictures with masks", got: unfit,
          wanted: "what is the same for picture and mask: scales, parts, turns, mirrored ones",
          fix: "Use --augment basic or none, and no mixup, cutmix or label smoothing.")
      }
    }
    let channels = split.source.channels
    if augmentation.jitter != nil || augmentation.policy != nil, channels != 1, channels != 3 {
      throw ABNError(
        .data, "batch loader: changes of colour", got: "pictures of \(channels) channels",
        wanted: "pictures in grey (1) or in colours (3)", fix: "Use no policy and no jitter.")
    }
    if augmentation.hasSoftLabels {
      guard let classes = options.classCount, classes > 0,
        split.labels.allSatisfy({ (0..<Int32(clamping: classes)).contains($0) })
      else {
        throw ABNError(
          .attribute, "batch loader: classCount", got: options.classCount.map { "\($0)" } ?? "none",
          wanted: "the number of classes, where labels are smoothed or pictures mixed")
      }
    }
  }

  /// The most bytes that an epoch holds: its order, the batches that wait, the one that is being
  /// made and the caller's, in row-major float32 and int64, and the pictures that are kept decoded.
  ///
  /// Int.max where that is more than Int can hold.
  ///
  /// - Parameter batchSize: nil: that of the options.
  public func bytesInFlight(batchSize: Int? = nil) -> Int {
    let labels = split.masks == nil ? 1 : split.geometry.size.height * split.geometry.size.width
    let image = 4 * split.imageShape.elementCount + MemoryLayout<Int64>.size * labels
    let (batches, overflow) = ((options.prefetchCount + 2) * image)
      .multipliedReportingOverflow(by: batchSize ?? options.batchSize)
    let others = split.count * MemoryLayout<Int>.size + split.cacheBytes
    return overflow || batches > .max - others ? .max : batches + others
  }

  /// The batches of an epoch, from number `first` on, all where that is below 0; none where the
  /// epoch has no more.
  public func epoch(_ epoch: Int, startingAt first: Int = 0) -> Batches {
    Batches(loader: self, epoch: epoch, first: max(0, first))
  }

  /// Batch `index` of an epoch, made on the calling thread.
  ///
  /// O(pictures of the split), for the order of the epoch: prefer `epoch(_:)` for many batches.
  ///
  /// - Precondition: as for an element of an array, `index` is in `0..<batchesPerEpoch`.
  public func batch(_ index: Int, ofEpoch epoch: Int) -> Batch {
    precondition((0..<batchesPerEpoch).contains(index), "batch \(index) of \(batchesPerEpoch)")
    return make(index, epoch: epoch, order: order(ofEpoch: epoch), in: BatchMemory())
  }

  // Streams of random numbers: these bits and the epoch, so that no other use of the seed meets
  // them.
  private static let orderStreams: UInt64 = 0xDA7A_0001_0000_0000
  private static let augmentationStreams: UInt64 = 0xDA7A_0002_0000_0000
  private static let changeStreams: UInt64 = 0xDA7A_0003_0000_0000
  private static let mixingStreams: UInt64 = 0xDA7A_0004_0000_0000

  /// The order of the pictures in an epoch: a permutation of `0..<split.count`.
  ///
  /// The Fisher-Yates shuffle; the standard library's may change with its version.
  func order(ofEpoch epoch: Int) -> [Int] {
    var order = Array(0..<split.count)
    guard options.isShuffled else { return order }
    var random = SequentialRandom(
      CounterRandom(
        seed: options.seed, stream: Self.orderStreams &+ UInt64(bitPattern: Int64(epoch))))
    for i in stride(from: order.count - 1, to: 0, by: -1) {
      // Off from uniform by less than 2^-64 of the number of pictures.
      let j = Int(random.next().multipliedFullWidth(by: UInt64(i + 1)).high)
      order.swapAt(i, j)
    }
    return order
  }

  /// What draws the changes of pictures in an epoch. Cutting, mirroring and distortion have blocks
  /// of their own in it, all other changes a stream of their own.
  func changes(ofEpoch epoch: Int, others: Bool) -> CounterRandom {
    CounterRandom(
      seed: options.seed,
      stream: (others ? Self.changeStreams : Self.augmentationStreams)
        &+ UInt64(bitPattern: Int64(epoch)))
  }

  /// What draws the mixing of a batch.
  func mixing(ofBatch index: Int, epoch: Int) -> Mixing? {
    guard let augmentation = options.augmentation else { return nil }
    var draws = Draws(
      CounterRandom(
        seed: options.seed, stream: Self.mixingStreams &+ UInt64(bitPattern: Int64(epoch))),
      place: index)
    return Mixing(augmentation, &draws, size: split.geometry.size)
  }
}
