import ABNTestSupport
import InPlaceABN
import Testing

/// momentum, movingMeanName, movingVarianceName, doModelAverageForMeanAndVar.
@Suite struct MovingStatisticsTests {
  static let shape: Shape = [5, 3, 4]
  static let ones = PlainLayer(scale: [1, 1, 1], bias: [0, 0, 0])

  /// The batch of a step.
  static func batch(_ step: Int) -> Tensor { Rig.numbers(shape, UInt64(30 + step)) }

  /// moving = moving * momentum + batch * (1 - momentum) over steps, from 0 and 1.
  static func moving(_ momenta: [Double]) -> (mean: [Double], variance: [Double]) {
    var mean = [0.0, 0, 0]
    var variance = [1.0, 1, 1]
    for (step, momentum) in momenta.enumerated() {
      let batch = ones.forward(batch(step))
      mean = zip(mean, batch.mean).map { $0 * momentum + $1 * (1 - momentum) }
      variance = zip(variance, batch.variance).map { $0 * momentum + $1 * (1 - momentum) }
    }
    return (mean, variance)
  }

  private func expectMoving(_ rig: Rig, _ momenta: [Double], _ what: String) {
    let wanted = Self.moving(momenta)
    expectClose(rig["mean"], wanted.mean, tolerance: 1e-13, what)
    expectClose(rig["variance"], wanted.variance, tolerance: 1e-13, what)
  }

  private func layer(_ rig: Rig, _ momentum: StatisticsMomentum) throws -> Variable {
    try inplaceABN(
      data("x", shape: Self.shape, dtype: .float64), act: .leakyReLU(slope: 0.1),
      momentum: momentum,
      movingMeanName: "mean", movingVarianceName: "variance")
  }

  @Test(arguments: [0, 0.25, 0.9, 1])
  func aNumber(_ momentum: Double) throws {
    let rig = Rig()
    let z = try rig.builder.build { try layer(rig, .value(momentum)) }
    try rig.start()
    for step in 0..<3 {
      _ = try rig.run(["x": Self.batch(step)], [z])
      expectMoving(rig, Array(repeating: momentum, count: step + 1), "step \(step)")
    }
  }

  @Test func literals() throws {
    for (momentum, wanted) in [(0.5 as StatisticsMomentum, 0.5), (1 as StatisticsMomentum, 1)] {
      guard case .value(let value) = momentum else {
        Issue.record("a literal is a value")
        continue
      }
      #expect(value == wanted)
    }
  }

  /// Momentum that a schedule gives, in a training program with an optimizer.
  @Test func aSchedule() throws {
    let schedule = Schedule.piecewise(boundaries: [1, 3], values: [0.5, 0.75, 0.875])
    let rig = Rig()
    try rig.builder.build {
      let z = try layer(rig, .variable(schedule.variable()))
      try SGD(learningRate: Schedule.step(0.1, every: 2)).minimize(reduceSum(square(z)))
    }
    try rig.start()
    var momenta: [Double] = []
    for step in 0..<5 {
      momenta.append(schedule.value(step: step))
      _ = try rig.run(["x": Self.batch(step)])
      expectMoving(rig, momenta, "step \(step)")
    }
    #expect(Set(momenta) == [0.5, 0.75, 0.875])
    // Evaluation neither counts nor asks for the momentum.
    let test = rig.builder.main.cloned(forTest: true)
    try test.verify()
    let before = rig.scope.snapshot()
    _ = try rig.run(test, ["x": Self.batch(0)], [test.operators.last!.outputs.map { test[$0] }[0]])
    #expect(rig.scope.snapshot() == before)
  }

  /// Momentum that the caller feeds, computed on the way.
  @Test func aFeed() throws {
    let rig = Rig()
    let z = try rig.builder.build {
      let fed = try data("momentum", shape: [1])
      return try layer(rig, .variable(scale(fed, factor: 0.5, bias: 0.25)))
    }
    try rig.start()
    var momenta: [Double] = []
    for (step, fed) in [Float(0), 0.5, 1.5].enumerated() {
      momenta.append(Double(fed) / 2 + 0.25)
      _ = try rig.run(["x": Self.batch(step), "momentum": Tensor([fed])], [z])
      expectMoving(rig, momenta, "step \(step)")
    }
    let test = rig.builder.main.cloned(forTest: true)
    let line = test.operators.first { $0.kindName == "inplace_abn" }!
    #expect(line.inputs.count == 5)
    _ = try rig.run(test, ["x": Self.batch(0)], [z])
  }

  /// prelu has its slopes between the statistics and the momentum.
  @Test func aVariableBesideSlopes() throws {
    let rig = Rig()
    let z = try rig.builder.build {
      try inplaceABN(
        data("x", shape: Self.shape, dtype: .float64), act: .prelu,
        momentum: .variable(data("momentum", shape: [1])), movingMeanName: "mean",
        movingVarianceName: "variance")
    }
    try rig.start()
    _ = try rig.run(["x": Self.batch(0), "momentum": Tensor([Float(0.125)])], [z])
    expectMoving(rig, [0.125], "prelu")
    let test = rig.builder.main.cloned(forTest: true)
    try test.verify()
    _ = try rig.run(test, ["x": Self.batch(0)], [z])
  }

  @Test func whereStatisticsStayMomentumIsNotRead() throws {
    for (isTest, global) in [(true, false), (false, true)] {
      let rig = Rig()
      let z = try rig.builder.build {
        try inplaceABN(
          data("x", shape: Self.shape, dtype: .float64), isTest: isTest,
          momentum: .variable(data("momentum", shape: [1])), useGlobalStats: global)
      }
      try rig.start()
      _ = try rig.run(["x": Self.batch(0)], [z])
    }
  }

  /// Values cannot be checked when a program is built: the statistics show the mistake.
  @Test(arguments: [Float(1.5), -0.25, .nan])
  func aVariableOutOfRange(_ value: Float) throws {
    let rig = Rig()
    let z = try rig.builder.build { try layer(rig, .variable(data("momentum", shape: [1]))) }
    try rig.start()
    let out = try rig.run(["x": Self.batch(0), "momentum": Tensor([value])], [z])[0]
    #expect(out.allSatisfy { $0.isFinite })
    #expect(rig["mean"].allSatisfy(\.isNaN) && rig["variance"].allSatisfy(\.isNaN))
  }

  /// Two layers with one pair of statistics: the second updates what the first has made.
  @Test(arguments: [0.9, 0.5])
  func sharedBetweenLayers(_ momentum: Double) throws {
    let rig = Rig()
    let (first, second) = try rig.builder.build {
      let x = try data("x", shape: Self.shape, dtype: .float64)
      let y = try data("y", shape: Self.shape, dtype: .float64)
      func layer(_ input: Variable, _ momentum: Double) throws -> Variable {
        try inplaceABN(
          input, momentum: .value(momentum), movingMeanName: "mean",
          movingVarianceName: "variance")
      }
      return (try layer(x, momentum), try layer(scale(y, factor: 2), momentum / 2))
    }
    let names = rig.builder.main.parameters.map(\.name)
    #expect(names.count { $0 == "mean" || $0 == "variance" } == 2 && names.count == 6)
    try rig.start()
    var (mean, variance) = ([0.0, 0, 0], [1.0, 1, 1])
    for step in 0..<3 {
      let (x, y) = (Self.batch(step), Self.batch(step + 10))
      _ = try rig.run(["x": x, "y": y], [first, second])
      let doubled = Tensor(y.doubles.map { 2 * $0 }, shape: Self.shape)
      for (batch, m) in [(x, momentum), (doubled, momentum / 2)] {
        let own = Self.ones.forward(batch)
        mean = zip(mean, own.mean).map { $0 * m + $1 * (1 - m) }
        variance = zip(variance, own.variance).map { $0 * m + $1 * (1 - m) }
      }
      expectClose(rig["mean"], mean, tolerance: 1e-13, "step \(step)")
      expectClose(rig["variance"], variance, tolerance: 1e-13, "step \(step)")
    }
    // In a program for evaluation both read the same.
    let test = rig.builder.main.cloned(forTest: true)
    let out = try rig.run(test, ["x": Self.batch(0), "y": Self.batch(0)], [first, second])
    let plain = Self.ones.forward(Self.batch(0), given: (mean, variance)).z
    expectClose(out[0], plain, tolerance: 1e-13)
  }

  @Test(arguments: [true, false])
  func modelAverage(_ averages: Bool) throws {
    let rig = Rig()
    let average = try rig.builder.build {
      let z = try inplaceABN(
        data("x", shape: Self.shape, dtype: .float64),
        paramAttr: ParamAttr(name: "scale", doModelAverage: true),
        biasAttr: ParamAttr(name: "bias", doModelAverage: false), movingMeanName: "mean",
        movingVarianceName: "variance", doModelAverageForMeanAndVar: averages)
      try SGD(learningRate: 0.01).minimize(reduceSum(square(z)))
      return try ModelAverage(averageWindowRate: 1, minAverageWindow: 100, maxAverageWindow: 100)
    }
    #expect(average.averagedNames == (averages ? ["scale", "mean", "variance"] : ["scale"]))
    try rig.start()
    var means: [[Double]] = []
    for step in 0..<4 {
      _ = try rig.run(["x": Self.batch(step)])
      means.append(rig["mean"])
    }
    let last = rig.scope.snapshot()
    try average.apply(rig.executor, scope: rig.scope) {
      let wanted =
        averages
        ? (0..<3).map { c in means.reduce(0) { $0 + $1[c] } / 4 } : means.last!
      expectClose(rig["mean"], wanted, tolerance: 1e-13)
      #expect((rig["variance"] == last["variance"]!.doubles) == !averages)
      #expect(rig["bias"] == last["bias"]!.doubles)
    }
    #expect(rig.scope.snapshot() == last)
  }
}
