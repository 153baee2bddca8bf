import ABNGraph
import ABNModelFiles
import ABNModels
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// Planned against measured memory of a few training steps.
package struct MemoryMeasurement: Sendable, Codable {
  /// Arena, parameters and state.
  package let plannedPeakBytes: Int
  /// Temporaries alone.
  package let arenaBytes: Int
  /// The largest sum of temporaries alive at one moment.
  package let lowerBoundBytes: Int
  /// The largest resident size of the process (VmHWM); of an accelerator, what the run took of it.
  package let measuredPeakBytes: Int
  /// The resident size before the first step: program and libraries, the compiled steps, and the
  /// images that will be fed; 0 of an accelerator.
  package let baseBytes: Int
  /// The resident size before anything was built: program and libraries alone.
  package let loadedBytes: Int
}

/// Trains `steps` steps on random images and labels. Run it in a fresh process: the peak is that of
/// the process.
///
/// - Parameter classes: nil: those of the data that the model was made for.
/// - Throws: `ABNError(.attribute)` for sizes below 1 or beyond reason, `ABNError(.system)` where
///   the plan is larger than the machine.
package func measureMemory(
  of model: Model, norm: NormStyle, image: Shape, batchSize: Int, steps: Int, classes: Int? = nil,
  backend: any Backend
) throws -> MemoryMeasurement {
  let sizes = [batchSize, steps] + image.dimensions
  // Below 2^30 elements all later products of sizes stay far from overflow.
  let elements = Shape([batchSize] + image.dimensions).checkedElementCount ?? .max
  guard sizes.allSatisfy({ $0 >= 1 }), elements <= 1 << 30 else {
    throw ABNError(
      .attribute, "memory measurement",
      got: "batch size \(batchSize), \(steps) steps, images \(image)",
      wanted: "numbers of at least 1, and at most 2^30 input elements")
  }
  let loadedBytes = ProcessMemory.residentBytes ?? 0
  let classes = classes ?? model.classes
  let programs = try ClassifierPrograms(
    model, options: ModelOptions(classes: classes, norm: norm), image: image, seed: 1
  ) { loss in
    _ = try Momentum(learningRate: 0.01, momentum: 0.9).minimize(loss)
  }
  let shapes = try programs.feedShapes(batchSize: batchSize)
  let executor = Executor(backend: backend, memoryLimit: .none)
  let executable = try executor.compile(programs.training, feed: shapes, fetch: [programs.loss])
  try ProcessMemory.require(plannedPeakBytes: executable.plannedPeakBytes, in: backend.memory) {
    try programs.largestBatchSize(fitting: $0, below: batchSize) {
      try programs.plannedPeakBytes(batchSize: $0, backend: backend)
    }
  }
  let random = CounterRandom(seed: 1, stream: 1)
  let (images, labels) = (shapes["images"]!, shapes["labels"]!)
  let feed = [
    "images": Tensor(
      (0..<images.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: images),
    "labels": Tensor(
      (0..<labels.elementCount).map { Int64(random.bits(UInt64($0)) % UInt32(classes)) },
      shape: labels),
  ]
  let scope = Scope()
  let meter = MemoryMeter(backend.memory)
  let baseBytes = meter.baseBytes
  try executor.run(programs.startup, scope: scope)
  for _ in 0..<steps {
    try executor.run(
      programs.training, feed: feed, next: feed, fetch: [programs.loss], scope: scope)
  }
  let peakBytes = withExtendedLifetime((executor, scope)) { meter.peakBytes }
  return MemoryMeasurement(
    plannedPeakBytes: executable.plannedPeakBytes, arenaBytes: executable.plan.arenaBytes,
    lowerBoundBytes: executable.plan.lowerBoundBytes,
    measuredPeakBytes: peakBytes, baseBytes: baseBytes, loadedBytes: loadedBytes)
}
