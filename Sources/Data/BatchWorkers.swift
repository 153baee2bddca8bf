import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Threads that make the batches of an epoch, and the few batches between them and whoever takes
/// them.
///
/// The next picture that nobody has begun is given to whichever thread asks, so that all of them
/// work on the batch that is needed first. A batch is begun when at most `prefetchCount` others
/// wait or are being made.
final class BatchWorkers: @unchecked Sendable {
  private let loader: BatchLoader
  private let epoch: Int
  /// Pictures that a thread takes at once: files one by one, arrays by the batch.
  private let share: Int

  // Everything below is touched only with `mutex` held.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let changed: UnsafeMutablePointer<pthread_cond_t>
  private var order: [Int] = []
  private var ring: [Slot]
  /// The batch of which pictures are given out, and the first place that is not.
  private var next: (batch: Int, place: Int)
  /// The batch that is taken next.
  private var taken: Int
  private var isClosed = false

  /// A batch that is being made, waits, or has been taken.
  private struct Slot {
    let memory = BatchMemory()
    var missing = 0
    var batch: Batch?
  }

  /// Workers for the batches from `first` on; nil where the system gives no thread.
  init?(_ loader: BatchLoader, epoch: Int, first: Int) {
    self.loader = loader
    self.epoch = epoch
    share = loader.split.source is PictureArray ? loader.options.batchSize : 1
    // The waiting ones, the one that is being made, and the caller's.
    ring = (0..<loader.options.prefetchCount + 2).map { _ in Slot() }
    next = (first, 0)
    taken = first
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
    changed = .allocate(capacity: 1)
    changed.initialize(to: pthread_cond_t())
    pthread_cond_init(changed, nil)
    var count = 0
    for _ in 0..<loader.options.workers where start() { count += 1 }
    if count == 0 { return nil }
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
    pthread_cond_destroy(changed)
    changed.deallocate()
  }

  /// Starts a thread; false where the system gives none.
  private func start() -> Bool {
    let work = Unmanaged.passRetained(self)
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<BatchWorkers>.fromOpaque(argument!).takeRetainedValue().work()
        return nil
      }, work.toOpaque())
    guard code == 0 else {
      work.release()
      return false
    }
    pthread_detach(thread)
    return true
  }

  private func work() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while !isClosed, next.batch < loader.batchesPerEpoch {
      guard next.batch <= taken + loader.options.prefetchCount else {
        pthread_cond_wait(changed, mutex)
        continue
      }
      let index = next.batch
      let place = index % ring.count
      let memory = ring[place].memory
      if next.place == 0 {
        if order.isEmpty { order = loader.order(ofEpoch: epoch) }
        loader.begin(memory, loader.samples(index, order))
        ring[place].missing = memory.sampleCount
      }
      let end = min(next.place + share, memory.sampleCount)
      let places = next.place..<end
      next = end < memory.sampleCount ? (index, end) : (index + 1, 0)
      pthread_mutex_unlock(mutex)
      loader.fill(memory, places, epoch: epoch)
      pthread_mutex_lock(mutex)
      ring[place].missing -= places.count
      if ring[place].missing == 0 {
        pthread_mutex_unlock(mutex)
        let batch = memory.finish(loader, epoch: epoch, index: index)
        pthread_mutex_lock(mutex)
        ring[place].batch = batch
        pthread_cond_broadcast(changed)
      }
    }
  }

  /// The next batch, after a wait where it is not made yet.
  func take() -> Batch {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let place = taken % ring.count
    while true {
      if let batch = ring[place].batch {
        ring[place].batch = nil
        taken += 1
        pthread_cond_broadcast(changed)
        return batch
      }
      pthread_cond_wait(changed, mutex)
    }
  }

  /// Ends the threads.
  func close() {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    isClosed = true
    pthread_cond_broadcast(changed)
  }
}
