import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

@Suite struct GradientAccumulationTests {
  static let configured: [(String, OptimizerSettings)] = {
    func settings(_ change: (inout OptimizerSettings) -> Void) -> OptimizerSettings {
      var settings = OptimizerSettings()
      settings.learningRate = 0.05
      settings.weightDecay = 0.01
      change(&settings)
      return settings
    }
    return [
      ("momentum", settings { _ in }),
      ("sgd, clipped", settings { ($0.name, $0.clip) = (.sgd, .globalNorm(0.3)) }),
      ("adam, clipped each", settings { ($0.name, $0.clip) = (.adam, .norm(0.1)) }),
      ("adamw, layers", settings { ($0.name, $0.layerDecay) = (.adamw, 0.5) }),
      ("lamb", settings { $0.name = .lamb }),
    ]
  }()

  /// Two layers and a mean loss, without anything that looks at a whole batch.
  private struct Net {
    let builder = ProgramBuilder(seed: 3)
    let executor = Executor(backend: CPUBackend())
    let scope = Scope()
    let loss: Variable
    let accumulating: Program?

    init(
      _ settings: OptimizerSettings, microBatches: Int, dtype: DType, ema: Bool = false
    ) throws {
      let builder = builder
      loss = try builder.build {
        let x = try data("x", shape: [-1, 6], dtype: dtype)
        let target = try data("target", shape: [-1, 3], dtype: dtype)
        let hidden = try fc(x, size: 9, act: .tanh)
        let loss = try mean(squareErrorCost(fc(hidden, size: 3), target))
        let schedule = Schedule.cosine(settings.learningRate, steps: 5, end: 0.01)
        try settings.make(schedule: schedule).minimize(loss, microBatches: microBatches)
        if ema { _ = try ExponentialAverage(decay: 0.9) }
        return loss
      }
      accumulating = microBatches > 1 ? try builder.main.accumulatingGradients() : nil
      try accumulating?.verify()
      try builder.main.verify()
      try executor.run(builder.startup, scope: scope)
    }

    func run(_ program: Program, rows: Range<Int>, of step: Int, _ dtype: DType) throws {
      func numbers(_ stream: UInt64, _ width: Int) -> Tensor {
        let source = CounterRandom(seed: 5, stream: stream + UInt64(step))
        return Tensor(
          (rows.lowerBound * width..<rows.upperBound * width).map {
            source.uniform(UInt64($0)) * 2 - 1
          }, shape: [rows.count, width]
        ).cast(to: dtype)
      }
      try executor.run(
        program, feed: ["x": numbers(100, 6), "target": numbers(200, 3)], fetch: [loss],
        scope: scope)
    }
  }

  @Test(arguments: configured, [2, 3, 4]) func equalsTheLargeBatch(
    _ test: (String, OptimizerSettings), _ count: Int
  ) throws {
    let rows = 12
    let large = try Net(test.1, microBatches: 1, dtype: .float64, ema: true)
    let small = try Net(test.1, microBatches: count, dtype: .float64, ema: true)
    for step in 0..<5 {
      try large.run(large.builder.main, rows: 0..<rows, of: step, .float64)
      for part in 0..<count {
        let before = small.scope.snapshot()
        try small.run(
          part < count - 1 ? small.accumulating! : small.builder.main,
          rows: part * rows / count..<(part + 1) * rows / count, of: step, .float64)
        guard part < count - 1 else { continue }
        // Nothing but the sums has changed.
        for (name, value) in small.scope.snapshot() where before[name] != value {
          #expect(name.hasSuffix("_gradient_sum_0"), "\(name)")
        }
      }
      for (name, value) in large.scope.snapshot() {
        expectClose(
          small.scope[name]!.doubles, value.doubles, tolerance: 1e-12, "\(test.0): \(name)")
      }
    }
    let first = try small.builder.startupValue("fc_0.w_0")
    #expect(large.scope["fc_0.w_0"] != first)
    for name in small.scope.names where name.hasSuffix("_gradient_sum_0") {
      #expect(small.scope[name]!.doubles.allSatisfy { $0 == 0 })
    }
  }

  /// Sums stand in float32 where parameters have 16 bits, and the mean is rounded once.
  @Test func sixteenBits() throws {
    let net = try Quadratic(.bfloat16)
    try SGD(learningRate: 0.25).minimize(
      net.loss, rules: ParameterRules(), microBatches: 2, builder: net.builder)
    #expect(net.builder.main.variable(named: "first_gradient_sum_0")?.dtype == .float32)
    try net.start()
    try net.run(step: 0)
    // One run alone: half of its gradient.
    let wanted = zip(net.initial[0], net.gradients(at: net.initial, step: 0)[0]).map {
      $0 - 0.25 * $1 / 2
    }
    expectClose(net.scope["first"]!.doubles, wanted, tolerance: 0x1p-7)
  }

  /// The sums are persistent: a plan has their bytes, and its arena is no larger than without them.
  @Test func memoryIsPlanned() throws {
    func bytes(_ count: Int) throws -> (peak: Int, arena: Int) {
      let net = try Net(Self.configured[0].1, microBatches: count, dtype: .float32)
      let executable = try Executor(backend: CPUBackend(), memoryLimit: .none).compile(
        net.builder.main, feed: ["x": [64, 6], "target": [64, 3]], fetch: [net.loss])
      return (executable.plannedPeakBytes, executable.plan.arenaBytes)
    }
    let (one, four) = (try bytes(1), try bytes(4))
    let parameters = 4 * (6 * 9 + 9 + 9 * 3 + 3)
    #expect(four.arena == one.arena)
    #expect(four.peak - one.peak >= parameters)
    #expect(four.peak - one.peak <= parameters + 4 * 64)
  }

  @Test func refusals() throws {
    let net = try Quadratic(.float32)
    let error = #expect(throws: ABNError.self) {
      try SGD(learningRate: 0.1).minimize(
        net.loss, rules: ParameterRules(), microBatches: 0, builder: net.builder)
    }
    #expect(error?.category == .attribute)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    #expect(throws: ABNError.self) { try net.builder.main.accumulatingGradients() }
  }
}

extension ProgramBuilder {
  /// The first value of a persistable.
  fileprivate func startupValue(_ name: String) throws -> Tensor? {
    let scope = Scope()
    try Executor(backend: CPUBackend()).run(startup, scope: scope)
    return scope[name]
  }
}
