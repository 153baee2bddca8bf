import ABNData
import ABNModelFiles
import ABNRuntime

/// What a training run needs beside what the process holds before its first step.
///
/// A step is planned to the byte; around it stand the batches that are prepared ahead, an
/// evaluation after each epoch, which runs in the arena of the steps, and the copy of the
/// parameters that is saved when the arena is gone.
struct TrainingMemory {
  /// Arena, parameters and state of a training step.
  let stepBytes: Int
  /// The same of an evaluation step.
  let evaluationBytes: Int
  /// Batches that wait, are made or are used.
  let batchBytes: Int
  /// Parameters and state, and the copies that are written.
  let savingBytes: Int

  /// The most that is needed at one time.
  var peakBytes: Int {
    max(max(stepBytes, evaluationBytes) + batchBytes, savingBytes)
  }

  /// Compiles both programs for a batch size; nothing is run.
  ///
  /// - Parameters:
  ///   - loader: prepares the batches; what it is for another batch size is worked out.
  ///   - testCount: the images of the evaluation.
  init(
    _ programs: ClassifierPrograms, _ executor: Executor, loader: BatchLoader, batchSize: Int,
    testCount: Int
  ) throws {
    let fetch = [programs.loss, programs.accuracy]
    let step = try executor.compile(
      programs.training, feed: programs.feedShapes(batchSize: batchSize), fetch: fetch)
    let evaluation = try executor.compile(
      programs.evaluation, feed: programs.feedShapes(batchSize: min(batchSize, testCount)),
      fetch: fetch)
    stepBytes = step.plannedPeakBytes
    evaluationBytes =
      evaluation.plan.arenaBytes + step.plannedPeakBytes - step.plan.arenaBytes
    batchBytes = loader.bytesInFlight(batchSize: batchSize)
    savingBytes =
      step.plannedPeakBytes - step.plan.arenaBytes
      + programs.training.parameters.reduce(0) { $0 + $1.type.bytes }
  }
}
