import ABNData
import ABNInspection
import ABNRuntime
import ABNTensors

/// What decoding and changing pictures costs the training that they are for.
package struct FeedTiming: Sendable, Encodable {
  /// Steps of a pass over the data, and passes of each kind.
  package let steps, passes: Int
  /// The medians of the passes: on batches that lie ready in memory, and on those of the loader.
  package let readySeconds, fedSeconds: Double
  /// The median, over pairs of passes, of fed over ready.
  package let ratio: Double
}

extension Trainer {
  /// Times passes over the data by turns: on batches that were made before and lie in memory, and
  /// on batches that are read, decoded and changed meanwhile. Nothing is saved.
  ///
  /// - Parameter passes: of each kind, after one that is not timed.
  /// - Throws: as `run`, and `ABNError(.attribute)` for less than one pass.
  package func timeFeeding(passes: Int) throws -> FeedTiming {
    guard passes >= 1 else {
      throw ABNError(.attribute, "passes", got: "\(passes)", wanted: "at least 1")
    }
    try settings.validate()
    let (dataset, task) = try prepared()
    let data = try data(of: dataset)
    let steps = min(data.loader.batchesPerEpoch, settings.limitBatches ?? .max)
    let made = try programs(task, rates: settings.rates(stepsPerEpoch: steps))
    let executor = Executor(backend: backend, keepsConstants: false, memoryLimit: .none)
    _ = try plannedMemory(task, made, data, executor)
    let scope = Scope()
    try executor.run(made.all.startup, scope: scope)
    func seconds(_ batches: some Sequence<Batch>) throws -> Double {
      let start = ContinuousClock.now
      for batch in batches.prefix(steps) {
        _ = try executor.run(
          made.all.training, feed: task.feed(batch), fetch: [made.all.loss], scope: scope)
      }
      return start.duration(to: .now) / .seconds(1)
    }
    let ready = Array(data.loader.epoch(0).prefix(steps))
    _ = try seconds(ready)
    var (onReady, fed): ([Double], [Double]) = ([], [])
    for pass in 1...passes {
      onReady.append(try seconds(ready))
      fed.append(try seconds(data.loader.epoch(pass)))
    }
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    return FeedTiming(
      steps: steps, passes: passes, readySeconds: median(onReady), fedSeconds: median(fed),
      ratio: median(zip(fed, onReady).map { $0 / $1 }))
  }
}
