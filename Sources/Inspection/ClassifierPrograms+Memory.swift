import ABNGraph
import ABNModelFiles
import ABNRuntime

extension ClassifierPrograms {
  /// The planned peak of a training step.
  package func plannedPeakBytes(batchSize: Int, backend: any Backend) throws -> Int {
    try Executor(backend: backend, mode: .compact, memoryLimit: .none).compile(
      training, feed: feedShapes(batchSize: batchSize), fetch: stepResults
    ).plannedPeakBytes
  }

  /// The largest batch of at least 2 and less than `limit` that needs at most `bytes`.
  ///
  /// Plans some log2(limit) batch sizes; nil where none fits.
  ///
  /// - Parameter planned: what a batch size needs; as `plannedPeakBytes`, say.
  package func largestBatchSize(
    fitting bytes: Int, below limit: Int, planned: (Int) throws -> Int
  ) throws -> Int? {
    var (fits, tooLarge) = (1, limit)
    while tooLarge - fits > 1 {
      let middle = (fits + tooLarge) / 2
      if try planned(middle) <= bytes {
        fits = middle
      } else {
        tooLarge = middle
      }
    }
    return fits >= 2 ? fits : nil
  }
}
