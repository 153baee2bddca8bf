import ABNData
import ABNTensors

/// The batches of an epoch as feeds, with the one that comes next where the memory of the backend
/// can take it while this one is computed with. Otherwise a batch more is not held.
struct UpcomingBatches<Batches: Sequence, Task: TrainingTask> where Batches.Element == Batch {
  private var iterator: Batches.Iterator
  private let task: Task
  private let looksAhead: Bool
  private var first = true
  /// The feeds of the step after this one; empty where they are not known yet.
  private(set) var upcoming: [String: Tensor] = [:]

  init(_ batches: Batches, looksAhead: Bool, task: Task) {
    self.task = task
    iterator = batches.makeIterator()
    self.looksAhead = looksAhead
  }

  /// The next feeds; nil at the end of the epoch.
  mutating func next() -> [String: Tensor]? {
    guard looksAhead else { return read() }
    if first {
      first = false
      upcoming = read() ?? [:]
    }
    guard !upcoming.isEmpty else { return nil }
    let feed = upcoming
    upcoming = read() ?? [:]
    return feed
  }

  /// The seconds that were spent waiting for batches so far.
  var waitedSeconds: Double { (iterator as? BatchIterator)?.waitedSeconds ?? 0 }

  private mutating func read() -> [String: Tensor]? {
    iterator.next().map(task.feed)
  }
}
