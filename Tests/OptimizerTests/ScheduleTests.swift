import ABNCPUBackend
import ABNGraph
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import Testing

/// A schedule, and its values as formulas of the step.
struct ScheduleCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let schedule: Schedule
  let value: @Sendable (Double) -> Double

  init(_ name: String, _ schedule: Schedule, _ value: @escaping @Sendable (Double) -> Double) {
    testDescription = name
    self.schedule = schedule
    self.value = value
  }
}

@Suite struct ScheduleTests {
  static let cases: [ScheduleCase] = [
    ScheduleCase("constant", .constant(0.3)) { _ in 0.3 },
    ScheduleCase("piecewise", .piecewise(boundaries: [3, 9], values: [0.3, 0.2, 0.7])) {
      $0 < 3 ? 0.3 : $0 < 9 ? 0.2 : 0.7
    },
    ScheduleCase("step", .step(0.5, every: 4, factor: 0.3)) {
      0.5 * .power(0.3, ($0 / 4).rounded(.down))
    },
    ScheduleCase("multi-step", .multiStep(0.5, milestones: [2, 3, 11], factor: 0.5)) {
      $0 < 2 ? 0.5 : $0 < 3 ? 0.25 : $0 < 11 ? 0.125 : 0.0625
    },
    ScheduleCase("exponential", .exponential(0.2, steps: 7, rate: 0.6)) {
      0.2 * .power(0.6, $0 / 7)
    },
    ScheduleCase("exponential in stairs", .exponential(0.2, steps: 7, rate: 0.6, staircase: true)) {
      0.2 * .power(0.6, ($0 / 7).rounded(.down))
    },
    ScheduleCase("polynomial", .polynomial(0.4, steps: 10, end: 0.1, power: 2)) {
      let rest = 1 - min($0, 10) / 10
      return 0.3 * rest * rest + 0.1
    },
    ScheduleCase("polynomial cycle", .polynomial(0.4, steps: 10, end: 0.1, cycle: true)) {
      let span = 10 * max(1, ($0 / 10).rounded(.up))
      return 0.3 * (1 - $0 / span) + 0.1
    },
    ScheduleCase("polynomial cycle without an end", .polynomial(0.4, steps: .max, cycle: true)) {
      _ in
      0.4
    },
    ScheduleCase("cosine", .cosine(0.4, steps: 20, end: 0.01)) {
      0.01 + 0.39 * (1 + Double.cosine(.pi * min($0, 20) / 20)) / 2
    },
    ScheduleCase("cosine by epochs", .cosine(0.4, steps: 20, every: 5)) {
      0.4 * (1 + Double.cosine(.pi * min(5 * ($0 / 5).rounded(.down), 20) / 20)) / 2
    },
    ScheduleCase("warm-up", .warmup(steps: 8, from: 0.02, to: 0.3, then: .step(1, every: 10))) {
      $0 < 8 ? 0.02 + 0.28 * $0 / 8 : .power(0.1, ($0 / 10).rounded(.down))
    },
    ScheduleCase(
      "one cycle",
      .oneCycle(peak: 0.9, steps: 21, warmup: 0.25, startDivisor: 9, endDivisor: 100)
    ) {
      let low = 0.001
      if $0 < 5 { return 0.1 + 0.8 * (1 - Double.cosine(.pi * $0 / 5)) / 2 }
      return low + (0.9 - low) * (1 + Double.cosine(.pi * (min($0, 20) - 5) / 15)) / 2
    },
  ]

  @Test(arguments: cases) func values(_ test: ScheduleCase) throws {
    let schedule = try test.schedule.validated()
    for step in 0..<35 {
      let wanted = test.value(Double(step))
      #expect(abs(schedule.value(step: step) - wanted) < 1e-14, "step \(step)")
    }
    #expect(schedule.value(step: -4) == schedule.value(step: 0))
  }

  @Test func edges() {
    let cycle = Schedule.oneCycle(peak: 0.5, steps: 11, warmup: 0.4)
    #expect(abs(cycle.value(step: 0) - 0.02) < 1e-15)
    #expect(abs(cycle.value(step: 4) - 0.5) < 1e-15)
    #expect(abs(cycle.value(step: 10) - 0.02 / 1e4) < 1e-12)
    #expect(cycle.value(step: 1000) == cycle.value(step: 10))
    #expect(Schedule.oneCycle(peak: 0.5, steps: 1).value(step: 0) == 0.5)
    #expect(abs(Schedule.oneCycle(peak: 0.5, steps: 5, warmup: 1).value(step: 4) - 0.5) < 1e-15)
    let smooth = Schedule.warmup(steps: 10, then: .cosine(0.3, steps: 40))
    #expect(smooth.value(step: 0) == 0)
    #expect(smooth.value(step: 10) == Schedule.cosine(0.3, steps: 40).value(step: 10))
  }

  @Test(arguments: [DType.float32, .float64])
  func programCountsItsRuns(_ dtype: DType) throws {
    let net = try Quadratic(dtype)
    let schedule = Schedule.warmup(
      steps: 3, from: 0.01, then: .exponential(0.1, steps: 2, rate: 0.5))
    try SGD(learningRate: schedule).minimize(
      net.loss, parameters: Array(net.parameters.prefix(2)), builder: net.builder)
    let second = Schedule.step(1, every: 2)
    try SGD(learningRate: second).minimize(
      net.loss, parameters: Array(net.parameters.suffix(2)), builder: net.builder)
    try net.builder.main.verify()
    try net.start()
    for step in 0..<7 {
      let got = try net.run(
        step: step,
        fetch: [
          "learning_rate_0", "learning_rate_1", Schedule.counterName, Schedule.counterName + "_1",
        ])
      for (tensor, wanted) in zip(got, [schedule, second]) {
        #expect(tensor.shape == [1])
        #expect(tensor == Tensor([wanted.value(step: step)]).cast(to: dtype))
      }
      #expect(got[2] == Tensor([Int64(step)]) && got[3] == got[2])
    }
    // A counter goes on from what the scope holds, and the other one as it would have.
    net.scope[Schedule.counterName] = Tensor([Int64(40)])
    let later = try net.run(step: 7, fetch: ["learning_rate_0", "learning_rate_1"])
    #expect(later[0] == Tensor([schedule.value(step: 41)]).cast(to: dtype))
    #expect(later[1] == Tensor([second.value(step: 7)]).cast(to: dtype))
  }

  @Test func oneRateForTwoOptimizers() throws {
    let net = try Quadratic(.float64)
    let rate = try Schedule.piecewise(boundaries: [1], values: [0.1, 0.2]).variable(
      dtype: .float64, builder: net.builder)
    #expect(rate.name == "learning_rate_0")
    for (k, parameter) in net.parameters.enumerated() {
      if k < 2 {
        try SGD(learningRate: rate).minimize(
          net.loss, parameters: [parameter], builder: net.builder)
      } else {
        try Momentum(learningRate: rate, momentum: 0.5).minimize(
          net.loss, parameters: [parameter], builder: net.builder)
      }
    }
    try net.start()
    try net.run(step: 0)
    try net.run(step: 1)
    var state = PlainState(net.initial)
    var other = state
    for step in 0..<2 {
      state.sgd(net.gradients(at: state.w, step: step), rate: step == 0 ? 0.1 : 0.2)
      other.momentum(
        net.gradients(at: other.w, step: step), rate: step == 0 ? 0.1 : 0.2, mu: 0.5,
        nesterov: false)
    }
    for (k, name) in Quadratic.names.enumerated() {
      let wanted = (k < 2 ? state : other).w[k]
      for (a, b) in zip(net.scope[name]!.doubles, wanted) { #expect(abs(a - b) < 1e-12) }
    }
  }

  static let bad: [(Schedule, String)] = [
    (.constant(-0.1), "got -0.1, wanted a finite number of at least 0"),
    (.constant(.nan), "got nan"),
    (.piecewise(boundaries: [1, 2], values: [1, 2]), "2 values for 2 boundaries"),
    (.piecewise(boundaries: [2, 2], values: [1, 2, 3]), "got [2, 2]"),
    (.step(0.1, every: 0), "every of the learning-rate schedule: got 0"),
    (.multiStep(0.1, milestones: [5, 4]), "milestones of the learning-rate schedule"),
    (.exponential(0.1, steps: 5, rate: .infinity), "rate of the learning-rate schedule: got inf"),
    (.polynomial(0.1, steps: -3), "got -3, wanted at least 1 step"),
    (.cosine(0.1, steps: 5, end: -1), "end of the learning-rate schedule: got -1.0"),
    (.warmup(steps: 5, then: .cosine(0.1, steps: 0)), "steps of the learning-rate schedule: got 0"),
    (.oneCycle(peak: 0.1, steps: 5, warmup: 1.5), "warmup of the learning-rate schedule: got 1.5"),
    (.oneCycle(peak: 0.1, steps: 5, startDivisor: 0), "divisor of the learning-rate schedule"),
  ]

  @Test(arguments: bad) func refused(_ schedule: Schedule, _ message: String) throws {
    let error = #expect(throws: ABNError.self) { _ = try schedule.validated() }
    #expect(error?.category == .attribute)
    #expect(error?.description.contains(message) == true, "\(String(describing: error))")
    let net = try Quadratic(.float32)
    let before = net.builder.main.revision
    let located = #expect(throws: ABNError.self) {
      try SGD(learningRate: schedule).minimize(net.loss, builder: net.builder)
    }
    #expect(located?.location?.hasPrefix("ScheduleTests.swift:") == true)
    #expect(net.builder.main.revision == before)
  }
}
