import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// Gradients at the ends of float32, and beyond a norm that it could hold: every optimizer and clip moves
/// parameters as in float64.
@Suite struct HugeGradientTests {
  struct Rule: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let make: @Sendable () throws -> any Optimizer
  }

  static let rules: [Rule] = [
    Rule(testDescription: "sgd") { SGD(learningRate: 1e-30) },
    Rule(testDescription: "sgd, clipped") {
      SGD(learningRate: 0.1, gradientClip: .value(min: -2, max: 3))
    },
    Rule(testDescription: "sgd, norm") { SGD(learningRate: 0.1, gradientClip: .norm(1)) },
    Rule(testDescription: "sgd, tiny norm") {
      SGD(learningRate: 1, gradientClip: .globalNorm(1e-4))
    },
    Rule(testDescription: "momentum") { Momentum(learningRate: 1e-30, momentum: 0.9) },
    Rule(testDescription: "nesterov") {
      Momentum(learningRate: 0.25, momentum: 0.9, useNesterov: true)
    },
    Rule(testDescription: "adam") { Adam(learningRate: 0.1) },
    Rule(testDescription: "adamw") { AdamW(learningRate: 0.1, weightDecay: 0.01) },
    Rule(testDescription: "adam, as lamb has it") {
      Lamb(learningRate: 0.1, adapts: { _ in false })
    },
  ]
  /// Its ratio is of all elements: one that float32 cannot hold shows in the others too.
  static let lamb = Rule(testDescription: "lamb") { Lamb(learningRate: 0.1, weightDecay: 0.01) }

  /// The parameter after each step with one gradient: of the sum of p * x it is x.
  private func steps(
    _ rule: Rule, _ dtype: DType, _ gradients: [[Double]], start: Double
  ) throws -> [[Double]] {
    let count = gradients[0].count
    let builder = ProgramBuilder(seed: 1)
    let p = try builder.build {
      let x = try data("x", shape: [count], dtype: dtype)
      let p = try builder.addPersistable(
        named: "p", type: TensorType([count], dtype), role: .parameter(ParameterTraits()),
        initializer: AssignValue(
          Tensor([Double](repeating: start, count: count), shape: [count]).cast(to: dtype)),
        layer: "p", source: SourceLocation(fileID: #fileID, line: #line))
      try rule.make().minimize(reduceSum(elementwiseMul(p, x)))
      return p
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    return try gradients.map {
      try executor.run(
        builder.main, feed: ["x": Tensor($0, shape: [count]).cast(to: dtype)], fetch: [],
        scope: scope)
      return scope[p.name]!.doubles
    }
  }

  @Test(arguments: rules) func stepsAreThoseOfFloat64(_ rule: Rule) throws {
    // float32 numbers; each step has one gradient for the whole parameter's norm.
    let huge = DType.float32.largest
    let one: [Double] = [huge, -huge / 2, 1e25, -1e20, 1e19, 3, -1e-3, 0]
    let gradients = [one, one.map { -$0 / 8 }, [1, 2, -1, 0.5, 1, -1, 2, 1]].map { row in
      Tensor(row, shape: [8]).cast(to: .float32).doubles
    }
    let single = try steps(rule, .float32, gradients, start: 0)
    let exact = try steps(rule, .float64, gradients, start: 0)
    var scale = [Double](repeating: 1e-12, count: 8)
    for (step, (a, b)) in zip(single, exact).enumerated() {
      for i in a.indices {
        scale[i] = max(scale[i], b[i].magnitude)
        // Adam takes a gradient above 9.2e18 as that: nothing changes until it meets another one.
        if rule.testDescription.hasPrefix("adam"), step > 0, gradients[0][i].magnitude > 9e18 {
          #expect(a[i].magnitude < 1, "\(rule.testDescription) step \(step) element \(i): \(a[i])")
          continue
        }
        guard scale[i] < 1e38 else { continue }
        #expect(
          (a[i] - b[i]).magnitude <= 64 * 0x1p-24 * scale[i],
          "\(rule.testDescription) step \(step) element \(i): \(a[i]), wanted \(b[i])")
      }
    }
  }

  /// An infinite second moment would stay, and the parameter stand still for ever without a word.
  @Test func adamGoesOnAfterAHugeGradient() throws {
    let gradients = [[1e30, 1]] + [[Double]](repeating: [1, 1], count: 20)
    let rule = Rule(testDescription: "adam") { Adam(learningRate: 0.1) }
    let single = try steps(rule, .float32, gradients, start: 0)
    let exact = try steps(rule, .float64, gradients, start: 0)
    #expect(exact.last![0].magnitude > 0.3)
    for (a, b) in zip(single, exact) { expectClose(a, b, tolerance: 1e-5) }
  }

  /// The square of a gradient that float32 cannot hold, over an epsilon that it cannot hold either: no step is longer
  /// than the learning rate.
  @Test(arguments: [1e-50, 1e-30, 1e-8]) func adamWithATinyEpsilon(epsilon: Double) throws {
    let rule = Rule(testDescription: "adam") { Adam(learningRate: 0.1, epsilon: epsilon) }
    for gradient in [0, 1e-25, -1e-30, 1] {
      let p = try steps(rule, .float32, [[gradient, 1]], start: 0.5)[0][0]
      #expect((p - 0.5).magnitude <= 0.1 * (1 + 1e-5), "gradient \(gradient): \(p)")
    }
  }

  /// What is not a number is seen.
  @Test(arguments: rules.filter { !$0.testDescription.contains("clipped") } + [lamb])
  func nothingHidesNaN(_ rule: Rule) throws {
    for bad in [Double.nan, .infinity] {
      let p = try steps(rule, .float32, [[1, bad], [1, 1]], start: 0.5)
      #expect(!p.last![1].isFinite, "\(rule.testDescription): \(p)")
    }
  }
}
