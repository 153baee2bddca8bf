import ABNData
import ABNGraph
import ABNModelFiles
import ABNOptimizers
import ABNRuntime

/// What a training run needs beside what the process holds before its first step.
///
/// A step is planned to the byte; around it stand the batches that are prepared ahead, an
/// evaluation after each epoch, which runs in the arena of the steps, and the copy of one parameter
/// at a time that a checkpoint makes.
struct TrainingMemory {
  /// Arena, parameters and state of a training step.
  let stepBytes: Int
  /// The same of an evaluation step.
  let evaluationBytes: Int
  /// Batches that wait, are made or are used.
  let batchBytes: Int
  /// The largest parameter or state, of which a checkpoint makes a copy.
  let copyBytes: Int

  /// The most that is needed at one time.
  var peakBytes: Int {
    max(stepBytes, evaluationBytes) + batchBytes + copyBytes
  }

  /// Compiles both programs for a batch size; nothing is run.
  ///
  /// - Parameters:
  ///   - loader: prepares the batches; what it is for another batch size is worked out.
  ///   - evaluation: compiles the evaluation.
  ///   - average: keeps the weights aside during an evaluation.
  init(
    _ programs: ClassifierPrograms, _ executor: Executor, loader: BatchLoader, batchSize: Int,
    average: ExponentialAverage? = nil, evaluation: (Executor, Int) throws -> CompiledEvaluation
  ) throws {
    let step = try executor.compile(
      programs.training, feed: programs.feedShapes(batchSize: batchSize, training: true),
      fetch: programs.stepResults)
    let evaluation = try evaluation(executor, batchSize)
    stepBytes = step.plannedPeakBytes
    evaluationBytes =
      evaluation.executable.plan.arenaBytes + step.plannedPeakBytes - step.plan.arenaBytes
      + evaluation.hostBytes + (average?.backupBytes ?? 0)
    batchBytes = loader.bytesInFlight(batchSize: batchSize)
    copyBytes = programs.training.persistables.map(\.type.bytes).max() ?? 0
  }
}
