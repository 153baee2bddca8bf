import ABNTensors

/// The batches of an epoch, or of the rest of one.
public struct Batches: Sequence, Sendable {
  let loader: BatchLoader
  let epoch: Int
  let first: Int

  /// The number of batches.
  public var underestimatedCount: Int { Swift.max(0, loader.batchesPerEpoch - first) }

  /// Starts to prepare the first batches.
  public func makeIterator() -> BatchIterator {
    BatchIterator(loader: loader, epoch: epoch, first: first)
  }
}

/// Gives the batches of an epoch; prepares the next ones on threads of its own meanwhile.
///
/// At most `Options.prefetchCount` batches wait. Their memory is used again once the caller has let
/// go of it: with n waiting batches, n + 2 are alive. A batch that the caller keeps stays as it is.
/// The threads end with the epoch, or when the iterator goes away.
public final class BatchIterator: IteratorProtocol {
  private let loader: BatchLoader
  private let epoch: Int
  private var nextIndex: Int
  private var order: [Int] = []
  private let memory = BatchMemory()
  private let workers: BatchWorkers?
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant

  /// The seconds that `next` has taken so far: what the caller has waited for data.
  package private(set) var waitedSeconds = 0.0

  init(loader: BatchLoader, epoch: Int, first: Int) {
    self.loader = loader
    self.epoch = epoch
    nextIndex = first
    start = clock.now
    workers =
      loader.options.prefetchCount > 0 && first < loader.batchesPerEpoch
      ? BatchWorkers(loader, epoch: epoch, first: first) : nil
    if workers == nil && first < loader.batchesPerEpoch { order = loader.order(ofEpoch: epoch) }
  }

  deinit { workers?.close() }

  /// The next batch, or nil where the epoch has no more; waits until it is prepared.
  public func next() -> Batch? {
    guard nextIndex < loader.batchesPerEpoch else { return nil }
    let before = clock.now
    defer {
      nextIndex += 1
      waitedSeconds += (clock.now - before) / .seconds(1)
    }
    if let workers { return workers.take() }
    return loader.make(nextIndex, epoch: epoch, order: order, in: memory)
  }

  /// The share of the time since the iterator was made that the caller has waited for data, 0...1.
  package var waitedShare: Double {
    let seconds = (clock.now - start) / .seconds(1)
    return seconds > 0 ? min(1, waitedSeconds / seconds) : 0
  }
}
