import ABNGraph
import ABNTensors
import InPlaceABN
import Testing

@testable import ABNInspection

/// Each rule of the memory report: where it applies, how often, and how many bytes it saves.
@Suite struct MemoryRuleTests {
  static let shape: Shape = [8, 16, 12, 12]
  static let tensorBytes = 8 * 16 * 12 * 12 * 4
  static let weightBytes = 16 * 16 * 3 * 3 * 4

  /// A compiled training step, and what the rules do for it.
  struct Compiled {
    let executable: Executable
    let rules: [MemoryRule: MemoryReport.Rule]

    func count(_ rule: MemoryRule) -> Int { rules[rule]!.count }
    func saved(_ rule: MemoryRule) -> Int { rules[rule]!.savedBytes }
  }

  /// The training step of a graph over x, whose output is squared and averaged where it is no loss.
  private func compiled(
    optimizer: any Optimizer = Momentum(learningRate: 0.1, momentum: 0.9),
    fetchesGradients: Bool = false, _ build: (Variable) throws -> Variable
  ) throws -> Compiled {
    let builder = ProgramBuilder()
    var loss: Variable!
    try builder.build {
      let output = try build(data("x", shape: Self.shape))
      loss = output.shape == [1] ? output : try mean(square(output))
      _ = try optimizer.minimize(loss)
    }
    var fetches: [any Fetchable] = [loss!]
    if fetchesGradients {
      fetches += builder.main.parameters.filter { $0.parameterTraits!.trainable }
        .map { "\($0.name)@GRAD" }
    }
    var feed = ["x": Self.shape]
    if builder.main.variable(named: "labels") != nil { feed["labels"] = [8, 1] }
    let executable = try Executor(backend: CPUBackend(), mode: .compact).compile(
      builder.main, feed: feed, fetch: fetches)
    let rules = MemoryReport(executable, program: builder.main).rules
    #expect(rules.map(\.rule) == MemoryRule.allCases)
    return Compiled(
      executable: executable,
      rules: Dictionary(uniqueKeysWithValues: rules.map { ($0.rule, $0) }))
  }

  private func conv(_ x: Variable) throws -> Variable {
    try conv2d(x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent)
  }

  private func chain(_ x: Variable) throws -> Variable {
    var y = x
    for _ in 0..<4 { y = try tanh(conv(y)) }
    return y
  }

  /// Four gradients in the bytes of one; a clip by global norm and a fetch need them all.
  @Test func updatesDirectlyAfterTheirGradients() throws {
    let early = try compiled(chain)
    #expect(early.count(.earlyUpdates) == 3)
    #expect(early.saved(.earlyUpdates) == 3 * Self.weightBytes)
    let clipped = try compiled(
      optimizer: SGD(learningRate: 0.1, gradientClip: .globalNorm(1)), chain)
    #expect(clipped.count(.earlyUpdates) == 0)
    #expect(clipped.saved(.earlyUpdates) == 0)
    let fetched = try compiled(fetchesGradients: true, chain)
    #expect(fetched.count(.earlyUpdates) == 0)
    #expect(fetched.saved(.earlyUpdates) == 0)
  }

  /// Three readers: their gradients are added up in the bytes of one of them.
  @Test func gradientsAccumulatedInPlace() throws {
    let one = try compiled { x in
      let h = try conv(x)
      return try concat([tanh(h), sigmoid(h), square(h)], axis: 1)
    }
    #expect(one.count(.accumulation) == 1)
    #expect(one.saved(.accumulation) == Self.tensorBytes)
    let sum = try #require(one.executable.lowered.steps.first { $0.name == "sum" })
    let places = sum.arguments.map { one.executable.plan.offsets[$0.buffer.index] }
    #expect(places.dropLast().contains(places.last!))
    #expect(try compiled(chain).count(.accumulation) == 0)
  }

  /// The reshape and its gradient.
  @Test func viewsAndReshapes() throws {
    let views = try compiled { x in try tanh(reshape(conv(x), [8, -1])) }
    #expect(views.count(.views) == 2)
    #expect(views.saved(.views) == 2 * Self.tensorBytes)
  }

  /// The layer's z over its x; out of place, the activation's z over y.
  @Test func zOverYOverX() throws {
    let inplace = try compiled { try conv(inplaceABN(conv($0), act: .leakyReLU(slope: 0.1))) }
    #expect(inplace.count(.normalization) == 1)
    #expect(inplace.saved(.normalization) == Self.tensorBytes)
    // An activation that cannot be inverted reads y, which is kept: only y is over x.
    let swish = try compiled { try conv(inplaceABN(conv($0), act: .swish)) }
    #expect(swish.count(.normalization) == 1)
    let standard = try compiled { try conv(batchNorm(conv($0), act: .leakyReLU())) }
    #expect(standard.count(.normalization) == 1)
  }

  /// Mean, inverse deviation and one number more of each of 16 channels.
  @Test func statisticsInsteadOfTensors() throws {
    for layer in [
      { (x: Variable) in try inplaceABN(x, act: .leakyReLU(slope: 0.1)) },
      { (x: Variable) in try batchNorm(x, act: .leakyReLU()) },
    ] {
      let made = try compiled { try conv(layer(conv($0))) }
      #expect(made.count(.statistics) == 1)
      #expect(made.saved(.statistics) == Self.tensorBytes - 3 * 16 * 4)
    }
  }

  /// One bit an element instead of the element.
  @Test func activationMasksAsBits() throws {
    let masked = try compiled { try conv(inplaceABN(relu(conv($0)), act: .leakyReLU(slope: 1))) }
    #expect(masked.count(.activationMasks) == 1)
    #expect(masked.saved(.activationMasks) == Self.tensorBytes - Self.tensorBytes / 32)
  }

  /// Eight bytes instead of one for each element.
  @Test func dropoutMasks() throws {
    let dropped = try compiled { try conv(dropout(conv($0), probability: 0.5)) }
    #expect(dropped.count(.dropoutMasks) == 1)
    #expect(dropped.saved(.dropoutMasks) == Self.tensorBytes / 4 - 8)
  }

  /// The number of the winner among four, in one byte instead of four.
  @Test func winnersAsBytes() throws {
    let pooled = try compiled { try pool2d(conv($0), poolSize: 2, poolStride: 2) }
    #expect(pooled.count(.winners) == 1)
    #expect(pooled.saved(.winners) == 3 * 8 * 16 * 6 * 6)
    let average = try compiled {
      try pool2d(conv($0), poolSize: 2, poolType: .average, poolStride: 2)
    }
    #expect(average.count(.winners) == 0)
  }

  /// Softmax over logits, gradient over softmax: [8, 10] each.
  @Test func lossOverItsInput() throws {
    let made = try compiled { x in
      let logits = try fc(x, size: 10)
      return try mean(
        softmaxWithCrossEntropy(logits, data("labels", shape: [8, 1], dtype: .int64)))
    }
    #expect(made.count(.loss) == 2)
    #expect(made.saved(.loss) == 2 * 8 * 10 * 4)
  }

  /// Of all scratch only what one step uses can add to the bound.
  @Test func scratchInTheHoles() throws {
    let made = try compiled { try tanh(conv(tanh(conv(tanh(conv(chain($0))))))) }
    let plan = made.executable.plan
    let scratch = plan.blocks.filter { placed in
      placed.buffers.allSatisfy { made.executable.lowered.buffers[$0.index].use == .scratch }
    }
    #expect(made.count(.scratch) == scratch.count && scratch.count > 7)
    let all = scratch.reduce(0) { $0 + $1.bytes }
    let atOnce = made.executable.lowered.steps.indices.map { step in
      scratch.filter { $0.life.contains(step) }.reduce(0) { $0 + $1.bytes }
    }.max()!
    #expect(made.saved(.scratch) >= all - atOnce)
    #expect(made.saved(.scratch) <= all)
  }

  @Test func resultsOverOperands() throws {
    // A sum over one of its terms, scaled in place, and the gradients over each other.
    let made = try compiled { x in try scale(elementwiseAdd(conv(x), conv(x)), factor: 2) }
    #expect(made.count(.results) >= 2)
    #expect(made.saved(.results) >= 2 * Self.tensorBytes)
  }

  /// What the passes decide appears under its rule, with the bytes of the decision.
  @Test func decisionsOfPasses() throws {
    let restored = try compiled { x in
      let h = try conv(x)
      let beside = try conv(h)
      return try elementwiseAdd(beside, conv(inplaceABN(h, act: .elu())))
    }
    #expect(restored.count(.restored) == 1)
    #expect(restored.saved(.restored) == Self.tensorBytes)
    let again = try compiled { try conv(inplaceABN(conv($0), act: .swish)) }
    #expect(again.count(.recomputed) == 1)
    #expect(again.saved(.recomputed) == Self.tensorBytes)
    let block = try compiled { x in
      let y = try inplaceABN(conv(x), act: .leakyReLU(slope: 0.1))
      return try conv(leakyReLU(elementwiseAdd(inplaceABN(conv(y)), y), alpha: 0.1))
    }
    #expect(block.count(.subtracted) == 1)
    #expect(block.saved(.subtracted) == Self.tensorBytes)
  }

  /// A program for evaluation keeps nothing for gradients.
  @Test func evaluation() throws {
    let builder = ProgramBuilder()
    let output = try builder.build {
      try dropout(
        pool2d(inplaceABN(conv(data("x", shape: Self.shape))), poolSize: 2, poolStride: 2),
        probability: 0.5)
    }
    let program = builder.main.cloned(forTest: true)
    let executable = try Executor(backend: CPUBackend(), mode: .compact).compile(
      program, feed: ["x": Self.shape], fetch: [output])
    for rule in MemoryReport(executable, program: program).rules {
      switch rule.rule {
      case .normalization, .scratch, .results, .views: break
      default: #expect(rule.count == 0 && rule.savedBytes == 0, "\(rule.rule)")
      }
    }
  }
}
