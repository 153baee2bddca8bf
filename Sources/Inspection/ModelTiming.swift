import ABNGraph
import ABNModelFiles
import ABNModels
import ABNOptimizers
import ABNPlanning
import ABNRuntime
import ABNTensors

/// What of a network is timed.
package enum TimedPass: String, Sendable, Codable, CaseIterable {
  /// Forward, backward and update.
  case training
  /// Forward with the moving statistics.
  case inference
}

/// The time of the steps of a network, and where it goes.
package struct ModelTiming: Sendable, Codable {
  /// What all operators of one kind took in a step.
  package struct Kind: Sendable, Codable {
    /// The kind, and which of its steps.
    package let name: String
    /// How many steps.
    package let count: Int
    /// Seconds: the median over the runs of their sum.
    package let seconds: Double
    /// 1e9 floating-point operators a second; 0 where bytes are what counts.
    package let gflops: Double
    /// 1e9 bytes a second that the steps read and write, without scratch.
    package let gigabytesPerSecond: Double
    /// The least time: see `ModelTiming.floorSeconds`.
    package let floorSeconds: Double
  }

  package let model: String
  package let norm: String
  /// The activation after a normalization.
  package let activation: String
  /// training or inference.
  package let pass: String
  package let batchSize: Int
  /// The images' height.
  package let imageSize: Int
  /// The images' channels, height and width.
  package let image: [Int]
  package let threads: Int
  /// The median time of a step.
  package let stepSeconds: Double
  package let imagesPerSecond: Double
  /// Arena, parameters and state.
  package let plannedPeakBytes: Int
  /// The largest resident size of the process, less the base.
  package let measuredPeakBytes: Int
  /// The resident size before the first step.
  package let baseBytes: Int
  /// 1e9 floating-point operators of convolutions and matrix products a second, over the whole
  /// step.
  package let gflops: Double
  /// Every convolution at the time that oneDNN takes for it alone, and for all other operators the
  /// time to read their inputs and write their outputs once at the bandwidth of memory. Conversions
  /// of layouts count nothing.
  package let floorSeconds: Double
  /// Of the floor: the convolutions.
  package let convolutionFloorSeconds: Double
  /// stepSeconds over floorSeconds.
  package let ratioToFloor: Double
  /// What others did while the steps and the floor were measured.
  package let load: MachineLoad
  /// Why steps and floor are not to be trusted; nil where nothing speaks against them.
  package let doubt: String?
  /// Where the time goes, longest first.
  package let kinds: [Kind]
}

/// A timing and the course of its fastest step.
package struct TimedModel {
  /// The numbers.
  package let timing: ModelTiming
  /// The fastest step as a trace: see `StepTrace`.
  package let trace: StepTrace
}

/// Times steps of a network on random images and labels.
///
/// The first step is not counted: it makes primitives and touches memory for the first time. Run it
/// in a fresh process, as the peak is that of the process.
///
/// - Parameters:
///   - options: what the model is built with.
///   - image: [C, H, W].
///   - measuresFloor: whether to run every convolution alone, which takes about as long as four
///     steps.
/// - Throws: `ABNError(.attribute)` for sizes below 1 or beyond reason, `ABNError(.system)` where
///   the plan is larger than the machine, `ABNError(.unsupported)` in the checking mode, and where
///   a backend that cannot measure its floor is to do so.
package func timeModel(
  _ model: Model, options: ModelOptions, pass: TimedPass, image: Shape, batchSize: Int,
  steps: Int, measuresFloor: Bool = true, backend: any Backend
) throws -> TimedModel {
  let measuring = measuresFloor ? try backend.measuringFloors() : nil
  let subject = try BenchmarkSubject(
    model, options: options, pass: pass, image: image, batchSize: batchSize, steps: steps,
    backend: backend)
  var seconds: [Double] = []
  var profiles: [StepProfile] = []
  try subject.start()
  let meter = LoadMeter()
  let clock = ContinuousClock()
  for round in 0...steps {
    var profile: StepProfile?
    let time = try clock.measure { profile = try subject.profile() }
    if round == 0 { continue }
    seconds.append(time / .seconds(1))
    profiles.append(profile!)
  }
  let fastest = zip(seconds, profiles).min { $0.0 < $1.0 }!.1
  // Steps that are recorded and begun by one call take less time than one by one.
  if backend.memory.recordsSteps { seconds = try subject.recordedSeconds(steps) }
  let peak = subject.meter.peakBytes - subject.baseBytes

  let executable = subject.executable
  let lowered = executable.lowered
  var floors = Array(repeating: 0.0, count: lowered.steps.count)
  var convolutions = 0.0
  if let measuring {
    let rates = try measuring.machineRates()
    let alone = try executable.program.map { try measuring.secondsAlone(of: $0) } ?? [:]
    for (index, step) in lowered.steps.enumerated()
    where step.purpose == .work && !executable.isConstant[index] {
      if let op = step.op, let time = alone[op] {
        floors[index] = time
        convolutions += time
      } else {
        let traffic = lowered.traffic(of: step)
        floors[index] = rates.seconds(reading: traffic.read, writing: traffic.written)
      }
    }
  }
  let load = meter.load(threads: backend.threads)
  let median = seconds.sorted()[seconds.count / 2]
  let floor = floors.reduce(0, +)
  let flops = lowered.steps.reduce(0) { $0 + $1.flops }
  return TimedModel(
    timing: ModelTiming(
      model: model.name, norm: options.norm.rawValue, activation: options.activation.name,
      pass: pass.rawValue, batchSize: batchSize, imageSize: image[1],
      image: image.dimensions, threads: backend.threads,
      stepSeconds: median,
      imagesPerSecond: Double(batchSize) / median,
      plannedPeakBytes: executable.plannedPeakBytes, measuredPeakBytes: peak,
      baseBytes: subject.baseBytes, gflops: Double(flops) / median / 1e9, floorSeconds: floor,
      convolutionFloorSeconds: convolutions, ratioToFloor: floor > 0 ? median / floor : 0,
      load: load, doubt: load.doubt,
      kinds: kinds(of: executable, profiles, floors)),
    trace: try StepTrace(lowered, fastest))
}

/// A network ready to be run again and again.
private struct BenchmarkSubject {
  let executable: Executable
  let baseBytes: Int
  private let executor: Executor
  private let programs: ClassifierPrograms
  private let program: Program
  private let feed: [String: Tensor]
  private let scope = Scope()
  let meter: MemoryMeter

  init(
    _ model: Model, options: ModelOptions, pass: TimedPass, image: Shape, batchSize: Int,
    steps: Int, backend: any Backend
  ) throws {
    let sizes = [batchSize, steps] + image.dimensions
    // Below 2^30 elements all later products of sizes stay far from overflow.
    let elements = Shape([batchSize] + image.dimensions).checkedElementCount ?? .max
    guard sizes.allSatisfy({ $0 >= 1 }), elements <= 1 << 30 else {
      throw ABNError(
        .attribute, "timing",
        got: "batch size \(batchSize), \(steps) steps, images \(image)",
        wanted: "numbers of at least 1, and at most 2^30 input elements")
    }
    meter = MemoryMeter(backend.memory)
    programs = try ClassifierPrograms(
      model, options: options, image: image, seed: 1
    ) { loss in
      guard pass == .training else { return }
      _ = try Momentum(learningRate: 0.01, momentum: 0.9).minimize(loss)
    }
    program = pass == .training ? programs.training : programs.evaluation
    let shapes = try programs.feedShapes(batchSize: batchSize)
    executor = Executor(backend: backend, memoryLimit: .none)
    let executable = try executor.compile(program, feed: shapes, fetch: [programs.loss])
    self.executable = executable
    let programs = programs
    // With what is held already, which an executor does not know.
    try ProcessMemory.require(plannedPeakBytes: executable.plannedPeakBytes, in: backend.memory) {
      try programs.largestBatchSize(fitting: $0, below: batchSize) {
        try programs.plannedPeakBytes(batchSize: $0, backend: backend)
      }
    }
    let random = CounterRandom(seed: 1, stream: 1)
    let (images, labels) = (shapes["images"]!, shapes["labels"]!)
    let classes = UInt32(options.classes)
    feed = [
      "images": Tensor(
        (0..<images.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: images),
      "labels": Tensor(
        (0..<labels.elementCount).map { Int64(random.bits(UInt64($0)) % classes) }, shape: labels),
    ]
    baseBytes = meter.baseBytes
  }

  /// Sets parameters and state.
  func start() throws { try executor.run(programs.startup, scope: scope) }

  /// The times of so many steps, each begun by one call, after three that are not counted.
  func recordedSeconds(_ steps: Int) throws -> [Double] {
    let clock = ContinuousClock()
    return try (0..<steps + 3).map { _ in
      try clock.measure {
        try executor.run(
          program, feed: feed, next: feed, fetch: [programs.loss], scope: scope)
      } / .seconds(1)
    }.suffix(steps)
  }

  func profile() throws -> StepProfile {
    try executor.profile(program, feed: feed, fetch: [programs.loss], scope: scope).profile
  }
}

/// The steps by name: medians of sums, longest first.
private func kinds(
  of executable: Executable, _ profiles: [StepProfile], _ floors: [Double]
) -> [ModelTiming.Kind] {
  let lowered = executable.lowered
  // What is made once is no part of a step.
  let run = lowered.steps.indices.filter { !executable.isConstant[$0] }
  let named = Dictionary(grouping: run) { lowered.steps[$0].name }
  return named.map { name, indices in
    let sums = profiles.map { profile in indices.reduce(0) { $0 + profile.seconds($1) } }
    let seconds = max(sums.sorted()[sums.count / 2], 1e-9)
    let flops = indices.reduce(0) { $0 + lowered.steps[$1].flops }
    let bytes = indices.reduce(0) {
      let traffic = lowered.traffic(of: lowered.steps[$1])
      return $0 + traffic.read + traffic.written
    }
    return ModelTiming.Kind(
      name: name, count: indices.count, seconds: seconds, gflops: Double(flops) / seconds / 1e9,
      gigabytesPerSecond: Double(bytes) / seconds / 1e9,
      floorSeconds: indices.reduce(0) { $0 + floors[$1] })
  }.sorted { ($0.seconds, $1.name) > ($1.seconds, $0.name) }
}
