import ABNCPUBackend
import ABNGraph
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

/// An optimizer, and the same written plainly: a step from state, gradients and t (from 1).
struct OptimizerCase: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let optimizer: any Optimizer
  var traits: [ParameterTraits] = []
  /// Whether the step moves the parameters at all, element by element: a guard for the test itself.
  var fixed: Set<Int> = []
  let step: @Sendable (inout PlainState, [[Double]], Int) -> Void

  init(
    _ name: String, _ optimizer: any Optimizer, traits: [ParameterTraits] = [],
    fixed: Set<Int> = [], step: @escaping @Sendable (inout PlainState, [[Double]], Int) -> Void
  ) {
    testDescription = name
    self.optimizer = optimizer
    self.traits = traits
    self.fixed = fixed
    self.step = step
  }
}

private func traits(_ change: (inout ParameterTraits) -> Void) -> ParameterTraits {
  var traits = ParameterTraits()
  change(&traits)
  return traits
}

@Suite struct OptimizerTests {
  static let plain: [OptimizerCase] = [
    OptimizerCase("sgd", SGD(learningRate: 0.1)) { s, g, _ in s.sgd(g, rate: 0.1) },
    OptimizerCase("momentum", Momentum(learningRate: 0.05, momentum: 0.9)) { s, g, _ in
      s.momentum(g, rate: 0.05, mu: 0.9, nesterov: false)
    },
    OptimizerCase(
      "nesterov", Momentum(learningRate: 0.05, momentum: 0.8, useNesterov: true)
    ) {
      s, g, _ in s.momentum(g, rate: 0.05, mu: 0.8, nesterov: true)
    },
    OptimizerCase("adam", Adam(learningRate: 0.01, epsilon: 1e-6)) { s, g, t in
      s.adam(g, t: t, rate: 0.01, 0.9, 0.999, 1e-6)
    },
    OptimizerCase("adam with other betas", Adam(learningRate: 0.02, beta1: 0.5, beta2: 0.9)) {
      s, g, t in s.adam(g, t: t, rate: 0.02, 0.5, 0.9, 1e-8)
    },
    OptimizerCase("adamw", AdamW(learningRate: 0.02, weightDecay: 0.3)) { s, g, t in
      s.adam(g, t: t, rate: 0.02, 0.9, 0.999, 1e-8, decay: { _ in 0.3 })
    },
    OptimizerCase(
      "adamw, not all decay",
      AdamW(learningRate: 0.02, weightDecay: 0.3, decays: { $0.shape.rank > 1 })
    ) { s, g, t in
      s.adam(
        g, t: t, rate: 0.02, 0.9, 0.999, 1e-8,
        decay: { Quadratic.shapes[$0].rank > 1 ? 0.3 : 0 })
    },
  ]

  static let lamb: [OptimizerCase] = [
    OptimizerCase("lamb", Lamb(learningRate: 0.02, weightDecay: 0.1)) { s, g, t in
      s.lamb(g, t: t, rate: 0.02, 0.9, 0.999, 1e-6, decay: { _ in 0.1 })
    },
    OptimizerCase(
      "lamb, not all adapt, clipped",
      Lamb(
        learningRate: 0.05, beta1: 0.5, beta2: 0.9, weightDecay: 0.3,
        gradientClip: .globalNorm(20), adapts: { $0.shape.rank > 1 }),
      traits: [traits { $0.learningRate = 0.5 }]
    ) { s, g, t in
      let factor = 20 / max(20, norm(g))
      let before = s
      s.lamb(
        g.map { times($0, factor) }, t: t, rate: 0.05, 0.5, 0.9, 1e-6,
        decay: { Quadratic.shapes[$0].rank > 1 ? 0.3 : nil })
      var own = before
      own.lamb(
        g.map { times($0, factor) }, t: t, rate: 0.025, 0.5, 0.9, 1e-6, decay: { _ in 0.3 })
      s.w[0] = own.w[0]
    },
  ]

  static let decay: [OptimizerCase] = [
    OptimizerCase("sgd l2", SGD(learningRate: 0.1, regularization: .l2(0.2))) { s, g, _ in
      s.sgd(g.indices.map { decayed(g[$0], s.w[$0], l2: 0.2) }, rate: 0.1)
    },
    OptimizerCase("sgd l1", SGD(learningRate: 0.1, regularization: .l1(0.3))) { s, g, _ in
      s.sgd(g.indices.map { decayed(g[$0], s.w[$0], l1: 0.3) }, rate: 0.1)
    },
    OptimizerCase(
      "momentum l2", Momentum(learningRate: 0.05, momentum: 0.9, regularization: .l2(0.1))
    ) { s, g, _ in
      s.momentum(
        g.indices.map { decayed(g[$0], s.w[$0], l2: 0.1) }, rate: 0.05, mu: 0.9, nesterov: false)
    },
    OptimizerCase("adam l2", Adam(learningRate: 0.02, regularization: .l2(0.3))) { s, g, t in
      s.adam(
        g.indices.map { decayed(g[$0], s.w[$0], l2: 0.3) }, t: t, rate: 0.02, 0.9, 0.999, 1e-8)
    },
    OptimizerCase(
      "a parameter's own l1 before l2", SGD(learningRate: 0.1, regularization: .l2(0.2)),
      traits: [ParameterTraits(), traits { $0.regularizer = .l1(0.3) }]
    ) { s, g, _ in
      s.sgd(
        g.indices.map {
          $0 == 1 ? decayed(g[$0], s.w[$0], l1: 0.3) : decayed(g[$0], s.w[$0], l2: 0.2)
        }, rate: 0.1)
    },
  ]

  static let clips: [OptimizerCase] = [
    OptimizerCase(
      "by value, then l2",
      SGD(learningRate: 0.1, regularization: .l2(0.2), gradientClip: .value(min: -0.3, max: 0.2))
    ) { s, g, _ in
      s.sgd(
        g.indices.map { decayed(g[$0].map { min(max($0, -0.3), 0.2) }, s.w[$0], l2: 0.2) },
        rate: 0.1)
    },
    OptimizerCase(
      "by norm, some above it",
      Momentum(
        learningRate: 0.1, momentum: 0.5, gradientClip: .norm(4))
    ) { s, g, _ in
      s.momentum(
        g.map { times($0, 4 / max(4, norm([$0]))) }, rate: 0.1, mu: 0.5, nesterov: false)
    },
    OptimizerCase(
      "by global norm, then l2",
      SGD(learningRate: 0.5, regularization: .l2(0.2), gradientClip: .globalNorm(20))
    ) { s, g, _ in
      let factor = 20 / max(20, norm(g))
      s.sgd(g.indices.map { decayed(times(g[$0], factor), s.w[$0], l2: 0.2) }, rate: 0.5)
    },
    OptimizerCase(
      "by a global norm that is not reached",
      Adam(
        learningRate: 0.02, gradientClip: .globalNorm(1e6))
    ) { s, g, t in s.adam(g, t: t, rate: 0.02, 0.9, 0.999, 1e-8) },
    OptimizerCase(
      "in groups, and one by value", SGD(learningRate: 0.1, gradientClip: .globalNorm(1)),
      traits: [
        traits { $0.gradientClip = .globalNorm(30, group: "b") },
        traits { $0.gradientClip = .globalNorm(30, group: "b") },
        traits { $0.gradientClip = .value(min: -0.1, max: 0.1) },
      ]
    ) { s, g, _ in
      let b = 30 / max(30, norm([g[0], g[1]]))
      s.sgd(
        [
          times(g[0], b), times(g[1], b), g[2].map { min(max($0, -0.1), 0.1) },
          times(g[3], 1 / max(1, norm([g[3]]))),
        ], rate: 0.1)
    },
  ]

  static let others: [OptimizerCase] = [
    OptimizerCase(
      "learning-rate multipliers", Momentum(learningRate: 0.05, momentum: 0.9),
      traits: [traits { $0.learningRate = 0.5 }, traits { $0.learningRate = 2 }]
    ) { s, g, _ in
      let before = s.w
      s.momentum(g, rate: 0.05, mu: 0.9, nesterov: false)
      for (k, factor) in [0.5, 2].enumerated() {
        for i in s.w[k].indices { s.w[k][i] = before[k][i] - 0.05 * factor * s.v[k][i] }
      }
    },
    OptimizerCase(
      "adamw multiplies decay too", AdamW(learningRate: 0.02, weightDecay: 0.5),
      traits: [traits { $0.learningRate = 3 }]
    ) { s, g, t in
      var own = s
      own.adam(g, t: t, rate: 0.06, 0.9, 0.999, 1e-8, decay: { _ in 0.5 })
      s.adam(g, t: t, rate: 0.02, 0.9, 0.999, 1e-8, decay: { _ in 0.5 })
      s.w[0] = own.w[0]
    },
    OptimizerCase(
      "what is not trainable stays", SGD(learningRate: 0.1, regularization: .l2(0.1)),
      traits: [ParameterTraits(), traits { $0.trainable = false }], fixed: [1]
    ) { s, g, _ in
      let before = s.w[1]
      s.sgd(g.indices.map { decayed(g[$0], s.w[$0], l2: 0.1) }, rate: 0.1)
      s.w[1] = before
    },
    OptimizerCase(
      "a schedule",
      Momentum(
        learningRate: Schedule.warmup(steps: 5, then: .cosine(0.1, steps: 18)), momentum: 0.9)
    ) { s, g, t in
      let step = Double(t - 1)
      let cosine = 0.1 * (1 + Double.cosine(.pi * min(step, 18) / 18)) / 2
      let target = 0.1 * (1 + Double.cosine(.pi * 5 / 18)) / 2
      s.momentum(
        g, rate: step < 5 ? target * step / 5 : cosine, mu: 0.9, nesterov: false)
    },
  ]

  @Test(arguments: plain + lamb + decay + clips + others, [DType.float64, .float32])
  func twentySteps(_ test: OptimizerCase, _ dtype: DType) throws {
    let net = try Quadratic(dtype, traits: test.traits)
    let pairs = try test.optimizer.minimize(net.loss, builder: net.builder)
    let trained = net.parameters.indices.filter { !test.fixed.contains($0) }
    #expect(pairs.map(\.parameter.name) == trained.map { Quadratic.names[$0] })
    try net.builder.main.verify()
    try net.start()
    var state = PlainState(net.initial)
    for step in 0..<20 {
      let wanted = net.gradients(at: state.w, step: step)
      let got = try net.run(step: step, fetch: pairs.map(\.gradient))
      if step == 0 {
        for (index, k) in trained.enumerated() {
          expectClose(got[index].doubles, wanted[k], tolerance: 1e-6, "gradient")
        }
      }
      test.step(&state, wanted, step + 1)
    }
    for (k, name) in Quadratic.names.enumerated() {
      let got = net.scope[name]!.doubles
      expectClose(
        got, state.w[k], tolerance: dtype == .float64 ? 1e-12 : 1e-5,
        "\(test.testDescription): \(name)")
      #expect((got == net.initial[k]) == test.fixed.contains(k))
    }
  }

  @Test func threadsDoNotChangeBits() async {
    // In a process of its own: the number of threads is that of the whole process.
    await #expect(processExitsWith: .success) {
      let trained = try [1, 3].map { threads in
        Parallel.threads = threads
        let net = try Quadratic(.float32)
        try Adam(learningRate: 0.01, gradientClip: .globalNorm(3)).minimize(
          net.loss, builder: net.builder)
        try net.start()
        for step in 0..<3 { try net.run(step: step) }
        return Quadratic.names.map { net.scope[$0]! }
      }
      #expect(trained[0] == trained[1])
    }
  }

  @Test func stateHasPaddlesNamesAndFirstValues() throws {
    let net = try Quadratic(.float32)
    try Adam().minimize(net.loss, parameters: [net.parameters[2]], builder: net.builder)
    try net.start()
    let added = Set(net.scope.names).subtracting(Quadratic.names)
    #expect(
      added == [
        "vector_moment1_0", "vector_moment2_0", "vector_beta1_pow_acc_0",
        "vector_beta2_pow_acc_0", "learning_rate_0",
      ])
    #expect(net.scope["vector_beta1_pow_acc_0"] == Tensor([0.9]))
    #expect(net.scope["vector_beta2_pow_acc_0"] == Tensor([0.999]))
    #expect(net.scope["learning_rate_0"] == Tensor([Float(0.001)]))
    let momentum = try Quadratic(.float64)
    try Momentum(learningRate: 0.1, momentum: 0.9).minimize(
      momentum.loss, builder: momentum.builder)
    #expect(momentum.builder.main.variable(named: "cube_velocity_0")?.shape == [2, 3, 4])
  }

  @Test func rateInTheScopeCountsFromTheNextRun() throws {
    let net = try Quadratic(.float64)
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    try net.start()
    try net.run(step: 0)
    net.scope["learning_rate_0"] = Tensor([0.25])
    try net.run(step: 1)
    var state = PlainState(net.initial)
    state.sgd(net.gradients(at: state.w, step: 0), rate: 0.1)
    state.sgd(net.gradients(at: state.w, step: 1), rate: 0.25)
    expectClose(net.scope["large"]!.doubles, state.w[1], tolerance: 1e-12)
  }

  @Test func evaluationHasNoUpdates() throws {
    let net = try Quadratic(.float32)
    try Momentum(
      learningRate: Schedule.constant(0.1), momentum: 0.9, gradientClip: .globalNorm(1)
    ).minimize(net.loss, builder: net.builder)
    let test = net.builder.main.cloned(forTest: true)
    #expect(test.operators.allSatisfy { $0.role == .forward })
    #expect(test.operators.flatMap(\.outputs).allSatisfy { !test[$0].isPersistable })
  }
}
