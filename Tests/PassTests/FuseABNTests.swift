import ABNTestSupport
import InPlaceABN
import Testing

/// Batch normalizations put in place: the same numbers in fewer bytes, and a reason for each that
/// stays apart from its activation.
@Suite struct FuseABNTests {
  static let scales = ParamAttr(initializer: .uniform(low: 0.5, high: 1.5))
  static let biases = ParamAttr(initializer: .uniform(low: -0.5, high: 0.5))

  /// batch_norm with parameters whose gradients matter.
  static func norm(_ x: Variable, momentum: StatisticsMomentum = 0.9) throws -> Variable {
    try batchNorm(x, momentum: momentum, paramAttr: scales, biasAttr: biases)
  }

  /// A network [4, 3, 5, 5] to one output, in float64, with a loss.
  struct Net: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let outcomes: [FusedABN.Outcome]
    let build: @Sendable (Variable) throws -> Variable

    init(
      _ name: String, _ outcomes: FusedABN.Outcome...,
      build: @escaping @Sendable (Variable) throws -> Variable
    ) {
      testDescription = name
      self.outcomes = outcomes
      self.build = build
    }

    func program() throws -> (builder: ProgramBuilder, x: Variable, out: Variable, loss: Variable) {
      let builder = ProgramBuilder(seed: 3)
      return try builder.build {
        let x = try data("x", shape: [4, 3, 5, 5], dtype: .float64, stopsGradient: false)
        let out = try build(x)
        let w = try data("w", shape: out.shape, dtype: .float64)
        return (builder, x, out, try reduceSum(elementwiseMul(out, w)))
      }
    }
  }

  static func numbers(_ shape: Shape, stream: UInt64) -> Tensor {
    let source = CounterRandom(seed: 8, stream: stream)
    return Tensor(
      (0..<shape.elementCount).map { 4 * source.uniform(UInt64($0)) - 2 }, shape: shape)
  }

  static let nets: [Net] = [
    Net("identity before a convolution", .inPlace(.noActivation)) {
      try conv2d(norm(conv2d($0, numFilters: 4, filterSize: 3)), numFilters: 2, filterSize: 1)
    },
    Net("leaky_relu", .fused(.leakyReLU(slope: 0.2))) {
      try leakyReLU(norm(scale($0, factor: 2)), alpha: 0.2)
    },
    Net("leaky_relu by act", .fused(.leakyReLU())) {
      try batchNorm(scale($0, factor: 2), act: "leaky_relu", paramAttr: scales, biasAttr: biases)
    },
    Net("elu", .fused(.elu(alpha: 1.5))) { try elu(norm(scale($0, factor: 2)), alpha: 1.5) },
    Net("identity as an activation", .fused(.identity)) {
      try activation(norm(scale($0, factor: 2)), .identity)
    },
    Net("prelu", .fused(.prelu)) { try prelu(norm(scale($0, factor: 2))) },
    Net("prelu with a momentum variable", .fused(.prelu)) {
      try prelu(norm($0, momentum: .variable(Schedule.constant(0.25).variable())))
    },
    Net("relu", .inPlace(.notInvertible(.relu))) { try relu(norm($0)) },
    Net("gelu", .inPlace(.notInvertible(.gelu))) { try gelu(norm($0)) },
    Net("leaky_relu, alpha 0", .inPlace(.notInvertible(.leakyReLU(slope: 0)))) {
      try leakyReLU(norm($0), alpha: 0)
    },
    Net("elu, alpha < 0", .inPlace(.notInvertible(.elu(alpha: -0.5)))) {
      try elu(norm($0), alpha: -0.5)
    },
    Net(
      "a second reader", .inPlace(.otherReaders(["scale \"beside\""]))
    ) {
      let y = try norm(scale($0, factor: 2))
      return try elementwiseAdd(elu(y), scale(y, factor: 3, name: "beside"))
    },
    Net("two activations", .inPlace(.otherReaders(["tanh \"second\""]))) {
      let y = try norm(scale($0, factor: 2))
      return try elementwiseAdd(leakyReLU(y, alpha: 0.1), tanh(y, name: "second"))
    },
    Net("gradients end at y", .inPlace(.stopsGradient)) {
      let y = try norm(conv2d($0, numFilters: 3, filterSize: 3, padding: 1))
      ProgramBuilder.current.replaceMain { $0.setStopsGradient(y.id, true) }
      let z = try leakyReLU(ProgramBuilder.current.main[y.id], alpha: 0.1)
      return try elementwiseAdd(z, $0)
    },
    Net("prelu with a slope a channel", .inPlace(.slopes([1, 3, 1, 1]))) {
      try prelu(norm($0), mode: .channel)
    },
    Net("slopes that are made later", .inPlace(.slopesComeLater)) {
      let y = try norm($0)
      return try op(PReLU(), [y, reduceMean(square($0))])
    },
    Net("slopes that are made before", .fused(.prelu)) {
      let slopes = try reduceMean(square($0))
      return try op(PReLU(), [norm($0), slopes])
    },
    Net("moving statistics in training", .fused(.leakyReLU(slope: 0.3))) {
      let x = try scale($0, factor: 2)
      let y = try batchNorm(x, paramAttr: scales, biasAttr: biases, useGlobalStats: true)
      return try leakyReLU(y, alpha: 0.3)
    },
    Net(
      "a small network", .fused(.leakyReLU(slope: 0.01)), .inPlace(.noActivation),
      .inPlace(.notInvertible(.relu)), .fused(.elu())
    ) {
      let a = try leakyReLU(norm(conv2d($0, numFilters: 4, filterSize: 3, padding: 1)), alpha: 0.01)
      let b = try norm(conv2d(a, numFilters: 4, filterSize: 3, padding: 1))
      let c = try relu(norm(conv2d(elementwiseAdd(a, b), numFilters: 4, filterSize: 1)))
      return try elu(norm(pool2d(c, poolSize: 2, poolStride: 1)))
    },
    Net("shared moving statistics", .fused(.leakyReLU(slope: 0.1)), .fused(.elu())) {
      let a = try batchNorm(
        scale($0, factor: 2), act: .leakyReLU(slope: 0.1), movingMeanName: "mean",
        movingVarianceName: "var")
      return try elu(batchNorm(a, movingMeanName: "mean", movingVarianceName: "var"))
    },
  ]

  /// Runs a program and its fused form with the same values: forward, gradients, statistics.
  @Test(arguments: nets) func theNumbersStay(_ net: Net) throws {
    let (builder, x, out, loss) = try net.program()
    let standard = builder.main
    let fused = try standard.fusedABN()
    #expect(fused.entries.map(\.outcome) == net.outcomes)
    try fused.program.verify()
    #expect(fused.program.operators.allSatisfy { $0.kindName != "batch_norm" })
    let feed = [
      "x": Self.numbers([4, 3, 5, 5], stream: 0), "w": Self.numbers(out.shape, stream: 1),
    ]
    let start = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: start)
    func run(_ program: Program) throws -> (names: [String], values: [Tensor], scope: Scope) {
      let scope = Scope()
      for (name, value) in start.snapshot() { scope[name] = value }
      let parameters = program.parameters.filter { $0.parameterTraits!.trainable }
      let result = try program.differentiated(loss, withRespectTo: [x] + parameters)
      let gradients = ([x] + parameters).compactMap { result.gradients[$0.id] }
      // Twice, so that the moving statistics of the first run count.
      var values: [Tensor] = []
      for _ in 0..<2 {
        values = try executor.run(
          result.program, feed: feed, fetch: [loss, out] + gradients, scope: scope)
      }
      return ((["loss", "out"] + gradients.map(\.name)), values, scope)
    }
    let (names, wanted, wantedScope) = try run(standard)
    let (fusedNames, got, gotScope) = try run(fused.program)
    #expect(names == fusedNames)
    #expect(wantedScope.names == gotScope.names)
    // Many gradients are 0 but for rounding: a bias before a normalization, for one.
    let scale = wanted.dropFirst(2).flatMap(\.doubles).reduce(1) { max($0, abs($1)) }
    for (name, (a, b)) in zip(names, zip(got, wanted)) {
      let worst = zip(a.doubles, b.doubles).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(worst <= 1e-12 * scale, "\(net.testDescription): \(name) off by \(worst)")
    }
    for name in wantedScope.names {
      expectClose(
        gotScope[name]!.doubles, wantedScope[name]!.doubles, tolerance: 1e-14, "\(name)")
    }
  }

  /// Programs for evaluation, fused after or before they were cloned. elu has its own exp in the
  /// layer.
  @Test(arguments: nets) func evaluation(_ net: Net) throws {
    let (builder, _, out, _) = try net.program()
    let test = builder.main.cloned(forTest: true)
    let fused = try test.fusedABN()
    #expect(fused.entries.count == net.outcomes.count)
    // The statistics of a test program are those of a training program cloned after fusing.
    let cloned = try builder.main.fusedABN().program.cloned(forTest: true)
    let feed = ["x": Self.numbers([4, 3, 5, 5], stream: 0)]
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(builder.startup, scope: scope)
    for name in scope.names {
      // Statistics that are not 0 and 1.
      let noise = Self.numbers(scope[name]!.shape, stream: 2).doubles
      scope[name] =
        scope[name]!.dtype == .float64
        ? Tensor(
          zip(scope[name]!.doubles, noise).map { $0 + abs($1) / 8 }, shape: scope[name]!.shape)
        : scope[name]
    }
    let before = scope.snapshot()
    let wanted = try executor.run(test, feed: feed, fetch: [out], scope: scope)
    for program in [fused.program, cloned] {
      try program.verify()
      let got = try executor.run(program, feed: feed, fetch: [out], scope: scope)
      expectClose(got[0].doubles, wanted[0].doubles, tolerance: 1e-15, net.testDescription)
    }
    #expect(scope.snapshot() == before)
  }

  @Test func aKeptVariableIsStillMade() throws {
    let builder = ProgramBuilder(seed: 1)
    let (y, z) = try builder.build {
      let y = try Self.norm(data("x", shape: [4, 3], dtype: .float64))
      return (y, try leakyReLU(y, alpha: 0.5))
    }
    let fused = try builder.main.fusedABN(keeping: [y])
    #expect(fused.entries.map(\.outcome) == [.inPlace(.kept)])
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    let feed = ["x": Self.numbers([4, 3], stream: 4)]
    let wanted = try executor.run(builder.main, feed: feed, fetch: [y, z], scope: scope)
    try executor.run(builder.startup, scope: scope)
    #expect(try executor.run(fused.program, feed: feed, fetch: [y, z], scope: scope) == wanted)
  }

  @Test func aDifferentiatedProgramIsLeft() throws {
    let builder = ProgramBuilder()
    let report = try builder.build {
      let x = try data("x", shape: [4, 3])
      let loss = try mean(relu(Self.norm(fc(x, size: 3))))
      try SGD(learningRate: 0.1).minimize(loss)
      let before = builder.main.revision
      let report = try builder.fuseABN()
      #expect(builder.main.revision == before)
      return report
    }
    #expect(report.entries.map(\.outcome) == [.left(.differentiated)])
    #expect("\(report)".contains("fuse before minimize"))
  }

  @Test func aProgramWithoutBatchNormStays() throws {
    let builder = ProgramBuilder()
    try builder.build { _ = try inplaceABN(data("x", shape: [4, 3])) }
    let fused = try builder.main.fusedABN()
    #expect(fused.entries.isEmpty && fused.program.revision == builder.main.revision)
    #expect("\(fused)" == "0 batch_norm: 0 fused with an activation, 0 in place without, 0 left")
  }

  @Test func theReportSaysWhereAndWhy() throws {
    let builder = ProgramBuilder()
    let lines = try builder.build {
      let x = try data("x", shape: [4, 3, 5, 5])
      let a = try leakyReLU(batchNorm(x, name: "first"), alpha: 0.1)
      let b = try relu(batchNorm(a, name: "second"))
      let c = try prelu(batchNorm(b, name: "third"), mode: .channel)
      _ = try batchNorm(c, name: "fourth")
      return "\(try builder.fuseABN())".split(separator: "\n").map(String.init)
    }
    #expect(lines.count == 5)
    #expect(lines[0] == "4 batch_norm: 1 fused with an activation, 3 in place without, 0 left")
    let ends = [
      "fused with leaky_relu, z over x", "in place, y over x; relu cannot be inverted",
      "in place, y over x; prelu has slopes of shape [1, 3, 1, 1], the layer takes [1]",
      "in place, y over x; no activation reads y",
    ]
    for (line, (name, end)) in zip(
      lines.dropFirst(), zip(["first", "second", "third", "fourth"], ends))
    {
      #expect(line.hasPrefix("  \(name) (FuseABNTests.swift:"), "\(line)")
      #expect(line.hasSuffix(end), "\(line)")
    }
    for reason in [
      FusedABN.Reason.otherReaders(["conv2d \"c\""]), .kept, .stopsGradient, .slopesComeLater,
      .notInvertible(.elu(alpha: -1)),
    ] { #expect(!"\(reason)".isEmpty) }
    #expect("\(FusedABN.Reason.notInvertible(.elu(alpha: -1)))".contains("alpha -1.0"))
  }

  private func trainingPlan(
    _ style: NormStyle, _ activation: Activation, fuse: Bool = false
  ) throws -> Executable {
    let builder = ProgramBuilder(seed: 2)
    return try builder.build {
      let images = try data("images", shape: [8, 3, 32, 32])
      let labels = try data("labels", shape: [8, 1], dtype: .int64)
      let options = ModelOptions(
        classes: 10, norm: style, activation: activation.with(alpha: 0.01))
      let logits = try Model.resnet20.build(images, options)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels))
      if fuse {
        let report = try builder.fuseABN()
        #expect(report.entries.count == 21)
        let isLeft = report.entries.contains { if case .left = $0.outcome { true } else { false } }
        #expect(!isLeft)
      }
      try Momentum(learningRate: 0.1, momentum: 0.9).minimize(loss)
      return try Executor(backend: CPUBackend()).compile(
        builder.main, feed: ["images": [8, 3, 32, 32], "labels": [8, 1]], fetch: [loss])
    }
  }

  /// ResNet-20 written with the usual pair of layers, fused, is the in-place network.
  @Test(arguments: [Activation.leakyReLU(), .elu(), .relu])
  func aFusedNetworkHasThePlanOfTheInPlaceOne(_ activation: Activation) throws {
    let inplace = try trainingPlan(.inplace, activation)
    let standard = try trainingPlan(.standard, activation)
    let fused = try trainingPlan(.standard, activation, fuse: true)
    #expect(fused.lowered.steps.map(\.name) == inplace.lowered.steps.map(\.name))
    #expect(fused.plan.arenaBytes == inplace.plan.arenaBytes)
    #expect(fused.plannedPeakBytes == inplace.plannedPeakBytes)
    if activation != .relu { #expect(fused.plan.arenaBytes < standard.plan.arenaBytes) }
  }
}
