import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// The sum of two gradients and the gradient of the activation before them as one operator.
@Suite struct FuseGradientSumsTests {
  static let shape: Shape = [3, 16, 5, 7]

  /// One training step of two residual blocks; `extra` adds a third reader of the first block's end.
  private func step(
    _ passes: [any ProgramPass], act: Activation, dtype: DType = .float32, extra: Bool = false
  ) throws -> (values: [String: [Double]], decisions: [PassDecision], kinds: [String]) {
    let builder = ProgramBuilder(seed: 3)
    var ends: [Variable] = []
    let loss = try builder.build {
      func conv(_ x: Variable) throws -> Variable {
        try conv2d(x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent)
      }
      let x = try data("x", shape: Self.shape, dtype: dtype)
      let first = try activation(elementwiseAdd(conv(x), conv(x)), act.with(alpha: 0.1))
      let second = try activation(elementwiseAdd(conv(first), first), act.with(alpha: 0.1))
      ends = [second] + (extra ? [try conv(first)] : [])
      var loss = try mean(square(ends[0]))
      for end in ends.dropFirst() { loss = try elementwiseAdd(loss, mean(square(end))) }
      _ = try SGD(learningRate: 0.1).minimize(loss)
      return loss
    }
    let (executor, scope) = (Executor(backend: CPUBackend(passes: passes)), Scope())
    try executor.run(builder.startup, scope: scope)
    let random = CounterRandom(seed: 8, stream: 0)
    let numbers = (0..<Self.shape.elementCount).map { random.uniform(UInt64($0)) - 0.5 }
    let x =
      dtype == .float64
      ? Tensor(numbers, shape: Self.shape)
      : Tensor(numbers.map { Float($0) }, shape: Self.shape).cast(to: dtype)
    let value = try executor.run(builder.main, feed: ["x": x], fetch: [loss], scope: scope)[0]
    var values = scope.snapshot().mapValues(\.doubles)
    values["loss"] = value.doubles
    let compiled = try executor.compile(builder.main, feed: ["x": Self.shape], fetch: [loss])
    return (values, compiled.decisions, compiled.lowered.steps.map(\.name))
  }

  @Test(arguments: [Activation.leakyReLU(), .relu], [DType.float32, .float64])
  func sameBits(_ act: Activation, _ dtype: DType) throws {
    let plain = try step([], act: act, dtype: dtype)
    let fused = try step(trainingPasses, act: act, dtype: dtype)
    #expect(fused.decisions.map(\.action) == [.fused])
    guard case .addsParts? = fused.decisions[0].reason as? MemoryReason else {
      Issue.record("\(fused.decisions)")
      return
    }
    #expect(fused.values == plain.values)
    #expect(plain.kinds.contains("sum") && !fused.kinds.contains("sum"))
    #expect(fused.kinds.contains { $0.hasSuffix("_grad of sum") })
  }

  /// The sum of 16 bits is rounded once less: the results differ by less than a few roundings.
  @Test(arguments: [DType.bfloat16, .float16])
  func sixteenBitsDifferByRounding(_ dtype: DType) throws {
    let plain = try step([], act: .relu, dtype: dtype)
    let fused = try step(trainingPasses, act: .relu, dtype: dtype)
    #expect(fused.decisions.map(\.action) == [.fused])
    let bound = dtype == .bfloat16 ? 0x1p-6 : 0x1p-9
    for (name, values) in plain.values {
      for (a, b) in zip(values, fused.values[name]!) { #expect(abs(a - b) <= bound, "\(name)") }
    }
  }

  @Test func otherActivationsAndThreePartsStay() throws {
    #expect(try step(trainingPasses, act: .sigmoid).decisions.isEmpty)
    #expect(try step(trainingPasses, act: .relu6).decisions.isEmpty)
    #expect(try step(trainingPasses, act: .relu, extra: true).decisions.isEmpty)
  }

  @Test func infiniteGradientsStopAtZeros() throws {
    // 0 * infinity would be NaN.
    let kind = try #require(ActivateGradientOfSum(of: Activate(.relu)))
    let builder = ProgramBuilder()
    var out: Variable!
    try builder.build {
      let parts = try ["y", "da", "db"].map { try data($0, shape: [20]) }
      out = try op(kind, parts)
    }
    let y = (0..<20).map { Float($0 % 3) - 1 }
    let values = try Executor(backend: CPUBackend()).run(
      builder.main,
      feed: [
        "y": Tensor(y, shape: [20]),
        "da": Tensor([Float](repeating: .infinity, count: 20), shape: [20]),
        "db": Tensor([Float](repeating: 1, count: 20), shape: [20]),
      ], fetch: [out!], scope: Scope())[0].doubles
    #expect(values == y.map { $0 > 0 ? .infinity : 0 })
  }
}
