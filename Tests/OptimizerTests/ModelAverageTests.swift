import ABNActivations
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

@Suite struct ModelAverageTests {
  private static var averaged: ParameterTraits {
    var traits = ParameterTraits()
    traits.doModelAverage = true
    return traits
  }

  private func net(_ dtype: DType) throws -> Quadratic {
    try Quadratic(dtype, traits: [Self.averaged, ParameterTraits(), Self.averaged])
  }

  /// The windows, written plainly: which updates (from 1) the mean covers after `updates` of them.
  private func window(_ updates: Int, rate: Double, minimum: Int, maximum: Int) -> Range<Int> {
    var start = 1
    var oldStart = 1
    for n in 1...updates {
      let length = n - start + 1
      if length >= minimum && Double(length) >= min(Double(maximum), Double(n) * rate) {
        oldStart = start
        start = n + 1
      }
    }
    return oldStart..<(updates + 1)
  }

  @Test(
    arguments: [(0.5, 3, 5), (0.15, 2, 4), (1, 10, 10), (0.2, 100, 100)],
    [DType.float64, .float32])
  func meansOverWindows(_ numbers: (Double, Int, Int), _ dtype: DType) throws {
    let (rate, minimum, maximum) = numbers
    let net = try net(dtype)
    try Momentum(learningRate: 0.1, momentum: 0.9).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(
      averageWindowRate: rate, minAverageWindow: minimum, maxAverageWindow: maximum,
      builder: net.builder)
    #expect(average.averagedNames == ["first", "vector"])
    try net.builder.main.verify()
    try net.start()
    var history: [[String: [Double]]] = [[:]]
    for step in 0..<13 {
      try net.run(step: step)
      history.append(
        Dictionary(uniqueKeysWithValues: Quadratic.names.map { ($0, net.scope[$0]!.doubles) }))
      let before = net.scope.snapshot()
      let covered = window(step + 1, rate: rate, minimum: minimum, maximum: maximum)
      try average.apply(net.executor, scope: net.scope) {
        for name in average.averagedNames {
          var mean = history[1][name]!.map { _ in 0.0 }
          for n in covered { mean = zip(mean, history[n][name]!).map { $0 + $1 } }
          expectClose(
            net.scope[name]!.doubles, mean.map { $0 / Double(covered.count) },
            tolerance: dtype == .float64 ? 1e-12 : 1e-6, "\(name) after \(step + 1)")
        }
        #expect(net.scope["large"] == before["large"])
        if step > 0 { #expect(net.scope["first"] != before["first"]) }
      }
      // Every value, the sums included, is what it was, and nothing is left over.
      #expect(net.scope.snapshot() == before)
    }
  }

  @Test func restoresAfterAThrow() throws {
    struct Stop: Error {}
    let net = try net(.float32)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(
      averageWindowRate: 0.5, minAverageWindow: 2, maxAverageWindow: 4, builder: net.builder)
    try net.start()
    for step in 0..<5 { try net.run(step: step) }
    let before = net.scope.snapshot()
    #expect(throws: Stop.self) {
      try average.apply(net.executor, scope: net.scope) {
        #expect(net.scope["first"] != before["first"])
        throw Stop()
      }
    }
    #expect(net.scope.snapshot() == before)
    // Training goes on as if nothing had been.
    try net.run(step: 5)
    #expect(net.scope["first"] != before["first"])
  }

  /// A scope that lacks the sums is refused as it is: nothing half made stands in the way of the next try.
  @Test func aRefusedApplyLeavesTheScope() throws {
    let net = try net(.float32)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(averageWindowRate: 0.5, builder: net.builder)
    try net.start()
    try net.run(step: 0)
    let full = net.scope.snapshot()
    let bare = Scope()
    for name in ["first", "vector"] { bare[name] = full[name] }
    for _ in 0..<2 {
      #expect(throws: ABNError.self) { try average.apply(net.executor, scope: bare) {} }
      #expect(Set(bare.snapshot().keys) == ["first", "vector"])
    }
    for (name, value) in full { bare[name] = value }
    try average.apply(net.executor, scope: bare) {}
    #expect(bare["first"] == full["first"])
  }

  @Test func beforeTheFirstUpdateParametersStay() throws {
    let net = try net(.float64)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(averageWindowRate: 0.5, builder: net.builder)
    try net.start()
    try average.apply(net.executor, scope: net.scope) {
      #expect(net.scope["first"]!.doubles == net.initial[0])
    }
  }

  @Test func movingStatisticsAreAveragedToo() throws {
    let net = try net(.float64)
    // A statistic that the forward pass updates, as a batch norm's moving mean is.
    let type = TensorType([1], .int64)
    let float = TensorType([7], .float64)
    let source = SourceLocation(fileID: #fileID, line: #line)
    let statistic = try net.builder.addPersistable(
      named: "statistic", type: float, role: .state, initializer: FillConstant(1, type: float),
      layer: "norm", source: source)
    let ignored = try net.builder.addPersistable(
      named: "ignored", type: type, role: .state, initializer: FillConstant(0, type: type),
      layer: "norm", source: source)
    let rate = try net.builder.addPersistable(
      named: "rate", type: TensorType([1], .float64), role: .state,
      initializer: FillConstant(1, type: TensorType([1], .float64)), layer: "norm", source: source)
    _ = try net.builder.append(Increment(), [ignored], layer: "norm", source: source)
    _ = try net.builder.append(
      SGDUpdate(), [statistic, net.builder.main.requireVariable(named: "x2"), rate], layer: "norm",
      source: source)
    net.builder.replaceMain { $0.setDoModelAverage(statistic.id, true) }
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(averageWindowRate: 1, builder: net.builder)
    #expect(average.averagedNames == ["first", "vector", "statistic"])
    try net.start()
    var sum = [Double](repeating: 0, count: 7)
    for step in 0..<4 {
      try net.run(step: step)
      sum = zip(sum, net.scope["statistic"]!.doubles).map { $0 + $1 }
    }
    try average.apply(net.executor, scope: net.scope) {
      expectClose(net.scope["statistic"]!.doubles, times(sum, 0.25), tolerance: 1e-12)
    }
  }

  @Test(arguments: [true, false]) func statisticsOfARealLayer(_ asks: Bool) throws {
    let builder = ProgramBuilder(seed: 2)
    var y: Variable!
    try builder.build {
      let x = try data("x", shape: [-1, 5])
      y = try inplaceABN(
        fc(x, size: 4, name: "fc"), act: .leakyReLU(slope: 1), name: "bn",
        doModelAverageForMeanAndVar: asks)
      try SGD(learningRate: 0.1).minimize(mean(elementwiseMul(y, y)))
    }
    let average = try ModelAverage(averageWindowRate: 1, builder: builder)
    let moving = ["bn.w_1", "bn.w_2"]
    #expect(Set(average.averagedNames).isSuperset(of: ["fc.w_0", "bn.w_0", "bn.b_0"]))
    #expect(Set(average.averagedNames).intersection(moving) == (asks ? Set(moving) : []))
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    var sums = moving.map { _ in [Double](repeating: 0, count: 4) }
    for step in 0..<5 {
      let source = CounterRandom(seed: 8, stream: UInt64(step))
      let x = Tensor((0..<30).map { Float(source.uniform($0)) }, shape: [6, 5])
      try executor.run(builder.main, feed: ["x": x], scope: scope)
      for (k, name) in moving.enumerated() {
        sums[k] = zip(sums[k], scope[name]!.doubles).map { $0 + $1 }
      }
    }
    guard asks else { return }
    let test = builder.main.cloned(forTest: true)
    let x = Tensor((0..<5).map { Float($0) }, shape: [1, 5])
    let before = try executor.run(test, feed: ["x": x], fetch: [y], scope: scope)
    try average.apply(executor, scope: scope) {
      for (k, name) in moving.enumerated() {
        expectClose(scope[name]!.doubles, times(sums[k], 0.2), tolerance: 1e-5, name)
      }
      let mean = try executor.run(test, feed: ["x": x], fetch: [y], scope: scope)
      #expect(mean != before)
    }
    let after = try executor.run(test, feed: ["x": x], fetch: [y], scope: scope)
    #expect(after == before)
  }

  @Test func smallSumsMoveOn() throws {
    // 16384 updates of one element: sum1 moves into sum2.
    let net = try net(.float32)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(
      averageWindowRate: 1, minAverageWindow: 100_000, maxAverageWindow: 100_000,
      builder: net.builder)
    try net.start()
    try net.run(step: 0)
    let first = net.scope["vector"]!.doubles
    net.scope["vector_num_updates_0"] = Tensor([Int64(16383)])
    try net.run(step: 1)
    let second = net.scope["vector"]!.doubles
    #expect(net.scope["vector_sum_1_0"]!.doubles.allSatisfy { $0 == 0 })
    expectClose(
      net.scope["vector_sum_2_0"]!.doubles, zip(first, second).map { $0 + $1 }, tolerance: 1e-6)
    try average.apply(net.executor, scope: net.scope) {
      expectClose(
        net.scope["vector"]!.doubles, zip(first, second).map { ($0 + $1) / 2 }, tolerance: 1e-6)
    }
  }

  private func expectError(
    _ category: ABNError.Category, _ message: String, _ body: () throws -> Void
  ) {
    let error = #expect(throws: ABNError.self) { try body() }
    #expect(error?.category == category)
    #expect(error?.description.contains(message) == true, "\(String(describing: error))")
  }

  @Test func refusals() throws {
    let net = try net(.float32)
    expectError(.program, "Call the optimizer's minimize first.") {
      _ = try ModelAverage(averageWindowRate: 0.5, builder: net.builder)
    }
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    expectError(.attribute, "averageWindowRate (ModelAverageTests.swift:") {
      _ = try ModelAverage(averageWindowRate: .nan, builder: net.builder)
    }
    expectError(.attribute, "minAverageWindow") {
      _ = try ModelAverage(averageWindowRate: 0.5, minAverageWindow: 0, builder: net.builder)
    }
    expectError(.attribute, "got 9, wanted at least minAverageWindow, 10") {
      _ = try ModelAverage(
        averageWindowRate: 0.5, minAverageWindow: 10, maxAverageWindow: 9, builder: net.builder)
    }
    let average = try ModelAverage(averageWindowRate: 0.5, builder: net.builder)
    try net.start()
    try net.run(step: 0)
    expectError(.program, "Call apply first.") {
      try average.restore(net.executor, scope: net.scope)
    }
    try average.apply(net.executor, scope: net.scope)
    expectError(.program, "Call restore first.") {
      try average.apply(net.executor, scope: net.scope)
    }
    try average.restore(net.executor, scope: net.scope)
  }
}
