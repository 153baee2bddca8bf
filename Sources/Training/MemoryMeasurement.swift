import ABNCPUBackend
import ABNGraph
import ABNModels
import ABNOptimizers
import ABNRuntime
import ABNTensors

/// Planned against measured memory of a few training steps.
public struct MemoryMeasurement: Sendable, Codable {
  /// Arena, parameters and state.
  public let plannedPeakBytes: Int
  /// Temporaries alone.
  public let arenaBytes: Int
  /// The largest sum of temporaries alive at one moment.
  public let lowerBoundBytes: Int
  /// The largest resident size of the process (VmHWM).
  public let measuredPeakBytes: Int
  /// The resident size before the first step.
  public let baseBytes: Int
}

/// Trains `steps` steps on random images and labels. Run it in a fresh process: the peak is that of
/// the process.
///
/// - Throws: `ABNError(.attribute)` for sizes below 1.
public func measureMemory(
  of model: Model, norm: NormStyle, image: Shape, batchSize: Int, steps: Int, classes: Int = 10
) throws -> MemoryMeasurement {
  guard batchSize >= 1, steps >= 1, image.dimensions.allSatisfy({ $0 >= 1 }) else {
    throw ABNError(
      .attribute, "memory measurement",
      got: "batch size \(batchSize), \(steps) steps, images \(image)", wanted: "numbers of at least 1")
  }
  let programs = try ClassifierPrograms(
    model, options: ModelOptions(classes: classes, norm: norm), image: image, seed: 1
  ) { loss in
    _ = try MomentumOptimizer(learningRate: 0.01, momentum: 0.9).minimize(loss)
  }
  let random = CounterRandom(seed: 1, stream: 1)
  let shape = Shape([batchSize] + image.dimensions)
  let pixels = (0..<shape.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }
  let feed = [
    "images": Tensor(pixels, shape: shape),
    "labels": Tensor(
      (0..<batchSize).map { Int64(random.bits(UInt64($0)) % UInt32(classes)) },
      shape: [batchSize, 1]),
  ]
  let executor = Executor(backend: CPUBackend())
  let scope = Scope()
  let executable = try executor.compile(
    programs.training, feed: feed.mapValues(\.shape), fetch: [programs.loss])
  let baseBytes = ProcessMemory.residentBytes ?? 0
  try executor.run(programs.startup, scope: scope)
  for _ in 0..<steps {
    try executor.run(programs.training, feed: feed, fetch: [programs.loss], scope: scope)
  }
  return MemoryMeasurement(
    plannedPeakBytes: executable.plannedPeakBytes, arenaBytes: executable.plan.arenaBytes,
    lowerBoundBytes: executable.plan.lowerBoundBytes,
    measuredPeakBytes: ProcessMemory.peakBytes ?? 0, baseBytes: baseBytes)
}
