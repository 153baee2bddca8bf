import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// Programs without a gradient: normalizations folded, sums and activations fused, constants kept.
@Suite struct InferenceTests {
  static let shape: Shape = [2, 16, 6, 5]

  /// A residual block for evaluation over x, its parameters and statistics random.
  struct Block {
    let program: Program
    let output: Variable
    let inner: Variable
    let scope = Scope()

    init(_ activation: Activation, inPlace: Bool, groups: Int = 1, bias: Bool = false) throws {
      let builder = ProgramBuilder(seed: 9)
      var (output, inner): (Variable?, Variable?)
      func normalized(_ x: Variable, _ act: Activation) throws -> Variable {
        let y = try conv2d(
          x, numFilters: 16, filterSize: 3, padding: 1, groups: groups,
          biasAttr: bias ? ParamAttr() : ParamAttr.absent)
        if inPlace && act.with(alpha: 0.2).isInvertible {
          return try inplaceABN(y, act: act.with(alpha: 0.2))
        }
        return try ABNLayers.activation(batchNorm(y), act.with(alpha: 0.2))
      }
      try builder.build {
        let x = try data("x", shape: InferenceTests.shape)
        let y = try normalized(x, activation)
        inner = y
        let sum = try elementwiseAdd(normalized(y, .identity), y)
        output = try ABNLayers.activation(sum, activation.with(alpha: 0.2))
      }
      program = builder.main.cloned(forTest: true)
      (self.output, self.inner) = (output!, inner!)
      try Executor(backend: CPUBackend()).run(builder.startup, scope: scope)
      for (index, name) in scope.names.enumerated() {
        let random = CounterRandom(seed: 4, stream: UInt64(index))
        let value = scope[name]!
        // Positive, as a variance must be; weights about zero, so that images stay small.
        let low = value.shape.rank == 4 ? -0.5 : 0.2
        scope[name] = Tensor(
          (0..<value.shape.elementCount).map { Float(low + random.uniform(UInt64($0))) },
          shape: value.shape)
      }
    }

    func run(_ passes: [any ProgramPass], _ x: Tensor, fetch: [Variable]? = nil) throws -> [Tensor]
    {
      try Executor(backend: CPUBackend(passes: passes)).run(
        program, feed: ["x": x], fetch: fetch ?? [output], scope: scope)
    }

    func compiled(_ fetch: [Variable]? = nil, keepsConstants: Bool = true) throws -> Executable {
      try Executor(backend: CPUBackend(), mode: .compact, keepsConstants: keepsConstants).compile(
        program, feed: ["x": InferenceTests.shape], fetch: fetch ?? [output])
    }
  }

  static func images(_ seed: UInt64 = 1) -> Tensor {
    let random = CounterRandom(seed: seed, stream: 0)
    return Tensor(
      (0..<shape.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: shape)
  }

  @Test(arguments: [
    Activation.identity, .relu, .relu6, .leakyReLU(), .elu(), .sigmoid, .tanh, .swish, .gelu,
    .hardSwish,
    .mish,
  ])
  func valuesAreTheSame(_ activation: Activation) throws {
    for (inPlace, groups, bias) in [
      (true, 1, false), (false, 1, false), (false, 1, true), (false, 2, false),
    ] {
      let block = try Block(activation, inPlace: inPlace, groups: groups, bias: bias)
      let wanted = try block.run([], Self.images())[0]
      let got = try block.run(inferencePasses, Self.images())[0]
      expectClose(
        got.doubles, wanted.doubles, tolerance: 1e-5, "\(activation) \(inPlace) \(groups) \(bias)")
    }
  }

  @Test func aBlockIsTwoConvolutions() throws {
    let block = try Block(.leakyReLU(), inPlace: true)
    let executable = try block.compiled()
    #expect(executable.decisions.map(\.action) == [.fused, .fused, .fused, .fused])
    let run = zip(executable.lowered.steps, executable.isConstant).filter { !$0.1 }.map(\.0)
    let work = run.filter { $0.purpose == .work }.map(\.name)
    #expect(work == ["conv2d_fusion", "conv2d_fusion"])
  }

  @Test func anActivationThatIsNotPiecewiseLinearStays() throws {
    let executable = try Block(.elu(), inPlace: true).compiled()
    let names = executable.lowered.steps.map(\.name)
    #expect(names.filter { $0 == "elu" }.count == 2)
    #expect(!names.contains { $0.contains("inplace_abn") })
  }

  @Test func whatIsFetchedIsThere() throws {
    let block = try Block(.leakyReLU(), inPlace: false)
    let fetch = [block.inner, block.output]
    let wanted = try block.run([], Self.images(), fetch: fetch)
    let got = try block.run(inferencePasses, Self.images(), fetch: fetch)
    for (a, b) in zip(got, wanted) { expectClose(a.doubles, b.doubles, tolerance: 2e-6) }
  }

  @Test(arguments: [Activation.relu, .relu6, .leakyReLU()]) func notANumberStays(
    _ activation: Activation
  ) throws {
    let block = try Block(activation, inPlace: false)
    var values = Self.images().doubles.map { Float($0) }
    values[7] = .nan
    let x = Tensor(values, shape: Self.shape)
    let wanted = try block.run([], x)[0].doubles.map(\.isNaN)
    let got = try block.run(inferencePasses, x)[0].doubles.map(\.isNaN)
    #expect(wanted.contains(true))
    #expect(got == wanted, "\(activation)")
  }

  @Test func trainingProgramsAreLeftAlone() throws {
    let builder = ProgramBuilder(seed: 9)
    let loss = try builder.build {
      let x = try data("x", shape: Self.shape)
      let y = try conv2d(x, numFilters: 16, filterSize: 3, biasAttr: .absent)
      let loss = try mean(inplaceABN(y, act: .leakyReLU(slope: 1), useGlobalStats: true))
      _ = try SGD(learningRate: 0.1).minimize(loss)
      return loss
    }
    let executable = try Executor(backend: CPUBackend()).compile(
      builder.main, feed: ["x": Self.shape], fetch: [loss])
    #expect(!executable.decisions.contains { $0.action == .fused })
  }

  // MARK: Constants

  @Test func constantsFollowTheirParameters() throws {
    let block = try Block(.leakyReLU(), inPlace: true)
    let executor = Executor(backend: CPUBackend(), mode: .compact)
    func run(_ executor: Executor, _ scope: Scope) throws -> Tensor {
      try executor.run(
        block.program, feed: ["x": Self.images()], fetch: [block.output], scope: scope)[0]
    }
    let first = try run(executor, block.scope)
    #expect(try run(executor, block.scope) == first)
    let name = try #require(block.scope.names.first { $0.hasSuffix("w_0") })
    let old = block.scope[name]!
    block.scope[name] = Tensor(old.doubles.map { Float($0 * 1.5) }, shape: old.shape)
    let second = try run(executor, block.scope)
    #expect(second != first)
    #expect(try run(Executor(backend: CPUBackend(), mode: .compact), block.scope) == second)
    // Another scope has other values.
    let other = Scope()
    for (name, value) in block.scope.snapshot() { other[name] = value }
    other[name] = old
    #expect(try run(executor, other) == first)
    #expect(try run(executor, block.scope) == second)
  }

  @Test func constantsFollowTraining() throws {
    let builder = ProgramBuilder(seed: 9)
    var output: Variable!
    let loss = try builder.build {
      let x = try data("x", shape: Self.shape)
      let y = try conv2d(x, numFilters: 16, filterSize: 3, biasAttr: .absent)
      output = try inplaceABN(y, act: .leakyReLU(slope: 1))
      let loss = try mean(square(conv2d(output, numFilters: 16, filterSize: 1)))
      return loss
    }
    let test = builder.main.cloned(forTest: true)
    try builder.build { _ = try SGD(learningRate: 0.1).minimize(loss) }
    let (executor, scope) = (Executor(backend: CPUBackend(), mode: .compact), Scope())
    try executor.run(builder.startup, scope: scope)
    for _ in 0..<3 {
      try executor.run(builder.main, feed: ["x": Self.images()], fetch: [loss], scope: scope)
      let kept = try executor.run(test, feed: ["x": Self.images(2)], fetch: [loss], scope: scope)
      let fresh = try Executor(backend: CPUBackend(), mode: .compact, keepsConstants: false)
        .run(test, feed: ["x": Self.images(2)], fetch: [loss], scope: scope)
      #expect(kept == fresh)
    }
  }

  @Test func constantsAreCounted() throws {
    let block = try Block(.leakyReLU(), inPlace: true)
    let (with, without) = (try block.compiled(), try block.compiled(keepsConstants: false))
    #expect(with.isConstant.contains(true) && !without.isConstant.contains(true))
    // Two weights of 16 x 16 x 3 x 3 and two biases of 16.
    #expect(with.constantBytes == 2 * (16 * 16 * 9 + 16) * 4 && without.constantBytes == 0)
    let state = with.lowered.persistents.reduce(0) { $0 + $1.port.type.bytes }
    #expect(with.plannedPeakBytes == with.plan.arenaBytes + with.constantBytes + state)
    #expect(with.plan.arenaBytes <= without.plan.arenaBytes)
  }
}

/// The kinds that these passes make, by themselves.
@Suite struct FusedConvolutionTests {
  private static func random(_ shape: Shape, _ stream: UInt64, _ dtype: DType) -> Tensor {
    let source = CounterRandom(seed: 21, stream: stream)
    let values = (0..<shape.elementCount).map { 0.1 + source.uniform(UInt64($0)) }
    return Tensor(values, shape: shape).cast(to: dtype)
  }

  @Test(arguments: [DType.float32, .float64]) func itIsItsParts(_ dtype: DType) throws {
    let shapes: [Shape] = [[2, 8, 5, 4], [16, 8, 3, 3], [16], [2, 16, 5, 4]]
    let inputs = shapes.enumerated().map { Self.random($0.element, UInt64($0.offset), dtype) }
    let convolution = try Conv2D(
      window: Window2D(kernel: [3, 3], stride: [1, 1], padding: .uniform(1)))
    let fusion = try #require(
      Conv2DFusion(convolution, hasResidual: true, activation: .leakyReLU(slope: 0.3)))
    let results = try evaluate(inputs) { x in
      // Below zero too: the slope is seen.
      let low = try ABNLayers.scale(x[3], factor: -9)
      let fused = try op(fusion, [x[0], x[1], x[2], low])
      let sum = try elementwiseAdd(op(convolution, [x[0], x[1], x[2]]), low)
      return [fused, try leakyReLU(sum, alpha: 0.3)]
    }
    #expect(results[0].doubles.contains { $0 < 0 } && results[0].doubles.contains { $0 > 0 })
    expectClose(
      results[0].doubles, results[1].doubles, tolerance: dtype == .float32 ? 1e-6 : 1e-14)
  }

  @Test(arguments: [DType.float32, .float64]) func foldingIsTheNormalization(_ dtype: DType) throws
  {
    let shapes: [Shape] = [[2, 8, 5, 4], [16, 8, 3, 3], [16], [16], [16], [16], [16]]
    let inputs = shapes.enumerated().map { Self.random($0.element, UInt64($0.offset), dtype) }
    let convolution = try Conv2D(
      window: Window2D(kernel: [3, 3], stride: [1, 1], padding: .uniform(1)))
    let norm = try NormalizationAttributes(epsilon: 1e-3, isTest: true)
    let results = try evaluate(inputs) { x in
      let (w, scale, bias, mean, variance, own) = (x[1], x[2], x[3], x[4], x[5], x[6])
      let builder = ProgramBuilder.current
      let folded = try builder.append(
        FoldNormalization(epsilon: 1e-3), [w, scale, bias, mean, variance, own],
        layer: "fold", source: w.source)
      let y = try op(convolution, [x[0], folded[0], folded[1]])
      let plain = try op(convolution, [x[0], w, own])
      return [y, try op(BatchNorm(norm), [plain, scale, bias, mean, variance])]
    }
    expectClose(
      results[0].doubles, results[1].doubles, tolerance: dtype == .float32 ? 2e-6 : 1e-13)
  }

  @Test func aResidualOfAnotherShapeIsRefused() throws {
    let convolution = try Conv2D(
      window: Window2D(kernel: [3, 3], stride: [1, 1], padding: .uniform(1)))
    expectError(.shape, ["residual", "[2, 16, 5, 4]"]) {
      try evaluate([
        Self.random([2, 8, 5, 4], 0, .float32), Self.random([16, 8, 3, 3], 1, .float32),
        Self.random([16], 2, .float32), Self.random([2, 16, 5, 3], 3, .float32),
      ]) { x in [try op(Conv2DFusion(convolution, hasResidual: true)!, x)] }
    }
    #expect(Conv2DFusion(convolution, activation: .relu) == nil)
    #expect(Conv2DFusion(convolution, activation: .leakyReLU(slope: 0)) == nil)
  }
}
