import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import ABNTraining
import Testing

@Suite struct ExponentialAverageTests {
  private func net(_ dtype: DType) throws -> Quadratic {
    var traits = ParameterTraits()
    traits.doModelAverage = true
    return try Quadratic(dtype, traits: [traits, ParameterTraits(), traits])
  }

  /// 0.2 is below what the rise of the decay allows from the second update on, 0.999 above it.
  @Test(arguments: [0.2, 0.9, 0.999], [DType.float64, .float32, .bfloat16])
  func followsTheParameters(_ decay: Double, _ dtype: DType) throws {
    let net = try net(dtype)
    try Momentum(learningRate: 0.05, momentum: 0.5).minimize(
      net.loss, builder: net.builder)
    let average = try ExponentialAverage(decay: decay, builder: net.builder)
    #expect(average.averagedNames == ["first", "vector"])
    #expect(average.backupBytes == (3 * 5 + 7) * dtype.bytes)
    try net.builder.main.verify()
    try net.start()
    var wanted: [String: [Double]] = [:]
    for step in 0..<12 {
      try net.run(step: step)
      let before = net.scope.snapshot()
      for name in average.averagedNames {
        let now = before[name]!.doubles
        let kept = step == 0 ? 0 : min(decay, Double(1 + step) / Double(10 + step))
        wanted[name] = zip(wanted[name] ?? now, now).map { kept * $0 + (1 - kept) * $1 }
      }
      try average.apply(net.executor, scope: net.scope) {
        for name in average.averagedNames {
          let tolerance = dtype == .float64 ? 1e-13 : dtype == .float32 ? 1e-6 : 0x1p-8
          expectClose(
            net.scope[name]!.doubles, wanted[name]!, tolerance: tolerance,
            "\(name) after \(step + 1)")
        }
        #expect(net.scope["large"] == before["large"])
        #expect((net.scope["vector"] != before["vector"]) == (step > 0))
      }
      #expect(net.scope.snapshot() == before)
    }
    #expect(net.scope["ema_updates_0"] == Tensor([Int64(12)]))
  }

  /// Moving statistics are averaged though in-place layers do not ask ModelAverage for it; what stays
  /// as it is, is not.
  @Test func statisticsFollowTheWeights() throws {
    let builder = ProgramBuilder(seed: 2)
    let average = try builder.build {
      let x = try data("x", shape: [-1, 5])
      var y = try fc(x, size: 4, paramAttr: ParamAttr(name: "frozen", trainable: false), name: "fc")
      y = try inplaceABN(y, act: .leakyReLU(slope: 0.1), name: "bn")
      y = try dropout(y, probability: 0.5)
      let schedule = Schedule.cosine(0.1, steps: 10)
      try Momentum(learningRate: schedule, momentum: 0.9).minimize(mean(elementwiseMul(y, y)))
      return try ExponentialAverage(decay: 0.5)
    }
    #expect(Set(average.averagedNames) == ["fc.b_0", "bn.w_0", "bn.b_0", "bn.w_1", "bn.w_2"])
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    var wanted = [Double](repeating: 0, count: 4)
    for step in 0..<4 {
      let source = CounterRandom(seed: 8, stream: UInt64(step))
      let x = Tensor((0..<30).map { Float(source.uniform($0)) }, shape: [6, 5])
      try executor.run(builder.main, feed: ["x": x], scope: scope)
      let kept = step == 0 ? 0 : min(0.5, Double(1 + step) / Double(10 + step))
      wanted = zip(wanted, scope["bn.w_1"]!.doubles).map { kept * $0 + (1 - kept) * $1 }
    }
    try average.apply(executor, scope: scope) {
      expectClose(scope["bn.w_1"]!.doubles, wanted, tolerance: 1e-6)
    }
  }

  @Test func beforeTheFirstUpdateParametersStay() throws {
    let net = try net(.float32)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ExponentialAverage(decay: 0.9, builder: net.builder)
    try net.start()
    let before = net.scope.snapshot()
    try average.apply(net.executor, scope: net.scope) {
      for (k, name) in Quadratic.names.enumerated() {
        #expect(net.scope[name]!.doubles == net.initial[k])
      }
    }
    #expect(net.scope.snapshot() == before)
  }

  @Test func restoresAfterAThrowAndRefusesTwice() throws {
    struct Stop: Error {}
    let net = try net(.float32)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ExponentialAverage(decay: 0.9, builder: net.builder)
    try net.start()
    for step in 0..<3 { try net.run(step: step) }
    let before = net.scope.snapshot()
    #expect(throws: Stop.self) {
      try average.apply(net.executor, scope: net.scope) { throw Stop() }
    }
    #expect(net.scope.snapshot() == before)
    try average.apply(net.executor, scope: net.scope)
    #expect(throws: ABNError.self) { try average.apply(net.executor, scope: net.scope) }
    try average.restore(net.executor, scope: net.scope)
    #expect(throws: ABNError.self) { try average.restore(net.executor, scope: net.scope) }
    #expect(net.scope.snapshot() == before)
  }

  @Test(arguments: [-0.1, 1, .nan, .infinity]) func refusals(_ decay: Double) throws {
    let net = try net(.float32)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let before = net.builder.main.revision
    let error = #expect(throws: ABNError.self) {
      _ = try ExponentialAverage(decay: decay, builder: net.builder)
    }
    #expect(error?.category == .attribute)
    #expect(net.builder.main.revision == before)
  }
}
