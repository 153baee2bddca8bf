import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

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

/// Gives the batches of an epoch; prepares the next ones on a thread of its own meanwhile.
///
/// At most `Options.prefetchCount` batches wait. Their memory is used again once the caller has let
/// go of it: with n waiting batches, n + 2 are alive. A batch that the caller keeps stays as it is.
/// The thread ends with the epoch, or when the iterator goes away.
public final class BatchIterator: IteratorProtocol {
  private let loader: BatchLoader
  private let epoch: Int
  private var nextIndex: Int
  private var order: [Int] = []
  private var buffers = BatchLoader.Buffers()
  private let queue: BatchQueue?

  init(loader: BatchLoader, epoch: Int, first: Int) {
    self.loader = loader
    self.epoch = epoch
    nextIndex = first
    let capacity = loader.options.prefetchCount
    queue =
      capacity > 0 && first < loader.batchesPerEpoch
      ? BatchQueue(capacity: capacity) { loader.produce(epoch: epoch, first: first, into: $0) }
      : nil
    if queue == nil && first < loader.batchesPerEpoch { order = loader.order(ofEpoch: epoch) }
  }

  deinit { queue?.close() }

  /// The next batch, or nil where the epoch has no more; waits until it is prepared.
  public func next() -> Batch? {
    guard nextIndex < loader.batchesPerEpoch else { return nil }
    defer { nextIndex += 1 }
    if let queue { return queue.take() }
    return loader.makeBatch(nextIndex, epoch: epoch, order: order, into: &buffers)
  }
}

extension BatchLoader {
  /// Puts the batches of an epoch into a queue until they end or nobody takes them any more.
  fileprivate func produce(epoch: Int, first: Int, into queue: BatchQueue) {
    let order = order(ofEpoch: epoch)
    // The waiting ones, the caller's and the one that is being made.
    var ring = [Buffers](repeating: Buffers(), count: options.prefetchCount + 2)
    for index in first..<batchesPerEpoch {
      let batch = makeBatch(index, epoch: epoch, order: order, into: &ring[index % ring.count])
      if !queue.put(batch) { return }
    }
  }
}

/// A queue of few batches between a thread that makes them and one that takes them.
private final class BatchQueue: @unchecked Sendable {
  // Everything below is touched only with `mutex` held.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let changed: UnsafeMutablePointer<pthread_cond_t>
  private var waiting: [Batch] = []
  private var isClosed = false
  private let capacity: Int

  /// A queue that a new thread fills by `produce`; nil where the system gives no thread.
  init?(capacity: Int, produce: @escaping @Sendable (BatchQueue) -> Void) {
    self.capacity = capacity
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
    changed = .allocate(capacity: 1)
    changed.initialize(to: pthread_cond_t())
    pthread_cond_init(changed, nil)
    let work = Unmanaged.passRetained(Work { produce(self) })
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().run()
        return nil
      }, work.toOpaque())
    guard code == 0 else {
      work.release()
      return nil
    }
    pthread_detach(thread)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
    pthread_cond_destroy(changed)
    changed.deallocate()
  }

  private final class Work {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Appends a batch, after a wait where the queue is full; false where it is closed.
  func put(_ batch: Batch) -> Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while waiting.count >= capacity && !isClosed { pthread_cond_wait(changed, mutex) }
    if isClosed { return false }
    waiting.append(batch)
    pthread_cond_signal(changed)
    return true
  }

  /// Removes the oldest batch, after a wait where there is none.
  func take() -> Batch {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while waiting.isEmpty { pthread_cond_wait(changed, mutex) }
    let batch = waiting.removeFirst()
    pthread_cond_signal(changed)
    return batch
  }

  /// Ends the thread that fills the queue.
  func close() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    isClosed = true
    waiting = []
    pthread_cond_signal(changed)
  }
}
