import ABNCPUBackend
import ABNGraph
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import ABNTraining
import Testing

/// Parameters and state that have 16 bits themselves: layers keep theirs in float32, but a program
/// may have others.
@Suite struct SixteenBitTests {
  static let cases =
    OptimizerTests.plain + OptimizerTests.lamb + OptimizerTests.decay + OptimizerTests.clips
    + OptimizerTests.others

  @Test(arguments: cases, [DType.float16, .bfloat16])
  func twoSteps(_ test: OptimizerCase, _ dtype: DType) throws {
    let net = try Quadratic(dtype, traits: test.traits)
    try test.optimizer.minimize(net.loss, builder: net.builder)
    try net.start()
    var state = PlainState(net.initial)
    for step in 0..<2 {
      let wanted = net.gradients(at: state.w, step: step)
      try net.run(step: step)
      test.step(&state, wanted, step + 1)
    }
    let unit = dtype == .float16 ? 0x1p-11 : 0x1p-8
    for (k, name) in Quadratic.names.enumerated() {
      #expect(net.scope[name]!.dtype == dtype)
      // Rounding turns the sign of a gradient near 0, and with it a whole step of Adam: few of them.
      let off = zip(net.scope[name]!.doubles, state.w[k]).map { abs($0 - $1) }
      let far = off.count { $0 > 4 * unit }
      #expect(100 * far <= off.count, "\(name): \(far) of \(off.count) by up to \(off.max()!)")
    }
  }

  @Test(arguments: [DType.float16, .bfloat16])
  func averages(_ dtype: DType) throws {
    var traits = ParameterTraits()
    traits.doModelAverage = true
    let net = try Quadratic(dtype, traits: [traits])
    try SGD(learningRate: 0.1).minimize(net.loss, builder: net.builder)
    let average = try ModelAverage(
      averageWindowRate: 1, minAverageWindow: 9, maxAverageWindow: 9, builder: net.builder)
    try net.start()
    var sums = [Double](repeating: 0, count: 15)
    for step in 0..<4 {
      try net.run(step: step)
      sums = zip(sums, net.scope["first"]!.doubles).map { $0 + $1 }
    }
    let last = net.scope.snapshot()
    try average.apply(net.executor, scope: net.scope) {
      // The sums are float32: one rounding, of the mean.
      #expect(
        net.scope["first"] == Tensor(sums.map { Float($0 / 4) }, shape: [3, 5]).cast(to: dtype))
    }
    #expect(net.scope.snapshot() == last)
  }

  @Test(arguments: [DType.float16, .bfloat16])
  func randomFirstValues(_ dtype: DType) throws {
    func values(_ dtype: DType) throws -> Tensor {
      let builder = ProgramBuilder()
      let type = TensorType([50, 40], dtype)
      _ = try builder.addPersistable(
        named: "w", type: type, role: .state,
        initializer: RandomFill(.normal(mean: 1, deviation: 2), type: type, seed: 4, stream: 5),
        layer: "w", source: SourceLocation(fileID: #fileID, line: #line))
      let scope = Scope()
      try Executor(backend: CPUBackend()).run(builder.startup, scope: scope)
      return scope["w"]!
    }
    #expect(try values(dtype) == values(.float32).cast(to: dtype))
  }
}
