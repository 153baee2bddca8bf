import ABNGraph
import ABNTensors
import InPlaceABN
import Testing

/// What the passes decide for each kind of neighbour, why, and what it costs.
@Suite struct DecisionTests {
  static let shape: Shape = [8, 16, 8, 8]
  static let tensorBytes = 8 * 16 * 8 * 8 * 4

  /// The compiled training step of a graph over x, with the momentum optimizer.
  func compiled(
    passes: [any ProgramPass] = memoryPasses, fetchOutput: Bool = false,
    _ build: (Variable) throws -> Variable
  ) throws -> Executable {
    let builder = ProgramBuilder()
    var output: Variable!
    let loss = try builder.build {
      output = try build(data("x", shape: Self.shape))
      let loss = try mean(square(output))
      _ = try Momentum(learningRate: 0.1, momentum: 0.9).minimize(loss)
      return loss
    }
    return try Executor(backend: CPUBackend(passes: passes)).compile(
      builder.main, feed: ["x": Self.shape], fetch: fetchOutput ? [loss, output] : [loss])
  }

  func conv(_ x: Variable, name: String? = nil) throws -> Variable {
    try conv2d(
      x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent, name: name)
  }

  func reasons(_ executable: Executable) -> [MemoryReason] {
    executable.decisions.compactMap { $0.reason as? MemoryReason }
  }

  func actions(_ executable: Executable) -> [PassDecision.Action] {
    executable.decisions.map(\.action)
  }

  @Test func convolutionBeforeNeedsNoDecision() throws {
    let plain = try compiled { try conv(inplaceABN(conv($0), act: .leakyReLU(slope: 0.1))) }
    #expect(plain.decisions.isEmpty)
  }

  @Test func reluBeforeKeepsBits() throws {
    func build(_ x: Variable) throws -> Variable {
      try conv(inplaceABN(relu(conv(x)), act: .leakyReLU(slope: 0.1)))
    }
    let with = try compiled(build)
    #expect(actions(with) == [.masked])
    #expect(with.decisions[0].bytes == Self.tensorBytes - Self.tensorBytes / 32)
    #expect(reasons(with) == [.signOnly(bytes: Self.tensorBytes / 32)])
    #expect(with.decisions.allSatisfy { with.program?[$0.id].name == $0.variable })
    let without = try compiled(passes: [], build)
    #expect(with.plan.arenaBytes < without.plan.arenaBytes)
  }

  /// Of a value that very many operators read, a copy is kept: to move them all would take the square of
  /// their number. Readers of the same bytes under another shape count.
  @Test(arguments: [false, true]) func manyReadersAreACopy(_ isViewed: Bool) throws {
    func decided(_ count: Int) throws -> [PassDecision] {
      try compiled { x in
        let h = try conv(x)
        let readers = try (0..<count).map { index in
          try mean(square(isViewed && index > 0 ? reshape(h, [0, 0, 64]) : h))
        }
        let y = try inplaceABN(h, act: .elu())
        return try elementwiseAdd(conv(y), sums(readers))
      }.decisions
    }
    func isOfMany(_ decision: PassDecision) -> Bool {
      decision.reason as? MemoryReason == .manyReaders(limit: 64)
    }
    #expect(try !decided(10).contains(where: isOfMany))
    let many = try decided(100)
    #expect(many.contains { $0.action == .copied && isOfMany($0) })
  }

  @Test func secondReaderEarlierIsRestored() throws {
    let with = try compiled { x in
      let h = try conv(x)
      let beside = try conv(h, name: "beside")
      return try elementwiseAdd(beside, conv(inplaceABN(h, act: .elu())))
    }
    #expect(actions(with) == [.restored])
    let gradient = NamedOperator(kind: "conv2d_weight_grad", layer: "beside")
    #expect(reasons(with) == [.computedBack(over: "inplace_abn", for: [gradient], delayed: 0)])
    #expect(with.lowered.steps.contains { $0.name.hasPrefix("inplace_abn_restore") })
  }

  /// The later reader runs before the layer, and its gradient, which came first, after the layer's.
  @Test func secondReaderLaterIsMovedAndRestored() throws {
    let with = try compiled { x in
      let h = try conv(x)
      let z = try conv(inplaceABN(h, act: .elu()))
      return try elementwiseAdd(conv(h, name: "beside"), z)
    }
    #expect(actions(with) == [.restored, .movedReader])
    let names = with.lowered.steps.map { "\($0.name) \($0.layer)" }
    let beside = try #require(names.firstIndex(of: "conv2d beside"))
    let layer = try #require(names.firstIndex { $0.hasPrefix("inplace_abn ") })
    #expect(beside < layer)
    let restore = try #require(names.firstIndex { $0.hasPrefix("inplace_abn_restore") })
    let gradient = try #require(names.firstIndex { $0.hasPrefix("conv2d_weight_grad beside") })
    #expect(restore < gradient)
    guard case .computedBack(_, _, let delayed)? = reasons(with).first else {
      Issue.record("\(with.decisions)")
      return
    }
    #expect(delayed > 0)
  }

  @Test func sumWithTheResultIsACopy() throws {
    let with = try compiled { x in
      let h = try conv(x)
      return try elementwiseAdd(inplaceABN(h, act: .elu()), h)
    }
    #expect(actions(with) == [.copied])
    guard case .readerNeedsResult? = reasons(with).first else {
      Issue.record("\(with.decisions)")
      return
    }
    #expect(with.decisions[0].bytes == Self.tensorBytes)
    #expect(with.decisions[0].source.line > 0)
  }

  @Test func exactReaderIsACopy() throws {
    let with = try compiled { try conv(inplaceABN(softmax(conv($0), axis: 1), act: .elu())) }
    #expect(actions(with) == [.copied])
    guard case .needsExactBits(let reader)? = reasons(with).first else {
      Issue.record("\(with.decisions)")
      return
    }
    #expect(reader.kind == "softmax_grad")
  }

  /// The gradients of sigmoid, tanh and elu read what the activation read, and their result is free.
  @Test(arguments: [Activation.sigmoid, .tanh, .elu()])
  func saturatingActivationBeforeTheLayer(_ act: Activation) throws {
    let with = try compiled {
      try conv(inplaceABN(activation(conv($0), act), act: .leakyReLU(slope: 1)))
    }
    #expect(actions(with).isEmpty, "\(with.decisions)")
  }

  /// Its result is computed again from what it read, for the convolution behind it.
  @Test(arguments: [Activation.sigmoid, .tanh, .elu()])
  func saturatingActivationIsComputedAgain(_ act: Activation) throws {
    func build(_ x: Variable) throws -> Variable { try conv(activation(conv(x), act)) }
    let with = try compiled(build)
    #expect(actions(with) == [.recomputed])
    #expect(try compiled(passes: [], build).plan.arenaBytes >= with.plan.arenaBytes)
    // What an in-place layer overwrites is restored, and the result kept.
    let overwritten = try compiled { x in
      let h = try conv(x)
      let beside = try conv(activation(h, act))
      return try elementwiseAdd(beside, conv(inplaceABN(h, act: .leakyReLU(slope: 0.1))))
    }
    #expect(actions(overwritten) == [.restored], "\(overwritten.decisions)")
  }

  @Test func fetchedInputIsACopy() throws {
    let builder = ProgramBuilder()
    var h: Variable!
    let loss = try builder.build {
      h = try conv(data("x", shape: Self.shape))
      return try mean(inplaceABN(h))
    }
    let program = try builder.main.differentiated(loss).program
    let with = try Executor(backend: CPUBackend()).compile(
      program, feed: ["x": Self.shape], fetch: [loss, h])
    #expect(actions(with) == [.copied])
    #expect(reasons(with) == [.isFetched])
  }

  /// A chain of layers that cannot be inverted stores one tensor a layer.
  @Test func activationIsComputedAgain() throws {
    func chain(_ x: Variable) throws -> Variable {
      var y = x
      for _ in 0..<6 { y = try inplaceABN(conv(y), act: .swish) }
      return y
    }
    let with = try compiled(chain)
    let without = try compiled(passes: [], chain)
    // The last layer's output is read by the loss's gradient, and computed again for it too.
    #expect(actions(with) == Array(repeating: .recomputed, count: 6))
    #expect(without.plan.arenaBytes - with.plan.arenaBytes >= 4 * Self.tensorBytes)
  }

  /// conv - abn(identity) - add - leaky_relu: one tensor a block more for every block more.
  @Test func residualBlockStoresOneTensor() throws {
    func network(_ blocks: Int) -> (Variable) throws -> Variable {
      { x in
        var y = try inplaceABN(conv(x), act: .leakyReLU(slope: 0.1))
        for _ in 0..<blocks {
          let branch = try inplaceABN(conv(y))
          y = try leakyReLU(elementwiseAdd(branch, y), alpha: 0.1)
        }
        return y
      }
    }
    func arena(_ blocks: Int, _ passes: [any ProgramPass]) throws -> Int {
      try compiled(passes: passes, network(blocks)).plan.arenaBytes
    }
    let perBlock = try (arena(9, memoryPasses) - arena(5, memoryPasses)) / 4
    #expect(abs(perBlock - Self.tensorBytes) < 1024, "\(perBlock) of \(Self.tensorBytes)")
    let before = try (arena(9, []) - arena(5, [])) / 4
    #expect(before >= 2 * Self.tensorBytes)
    #expect(try actions(compiled(network(3))).allSatisfy { $0 == .subtracted })
  }

  /// Of a shortcut with a layer of its own one term is kept, and the other subtracted.
  @Test func projectedShortcut() throws {
    let with = try compiled { x in
      let y = try inplaceABN(conv(x), act: .leakyReLU(slope: 0.1))
      let sum = try elementwiseAdd(inplaceABN(conv(y)), inplaceABN(conv(y)))
      return try conv(leakyReLU(sum, alpha: 0.1))
    }
    #expect(actions(with) == [.subtracted])
  }

  /// Scales of zero, as residual branches begin with: everything is kept beside, and right.
  @Test func keptPlanesAreCounted() throws {
    let builder = ProgramBuilder()
    var loss: Variable!
    try builder.build {
      let x = try data("x", shape: Self.shape)
      let y = try inplaceABN(conv(x), act: .leakyReLU(slope: 0.1))
      let small = ParamAttr(initializer: .constant(1e-3))
      let branch = try inplaceABN(conv(y), paramAttr: small)
      loss = try mean(square(leakyReLU(elementwiseAdd(branch, y), alpha: 0.1)))
      _ = try Momentum(learningRate: 0, momentum: 0.9).minimize(loss)
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    let random = CounterRandom(seed: 4, stream: 2)
    let values = (0..<Self.shape.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }
    let feed = ["x": Tensor(values, shape: Self.shape)]
    let compiled = try executor.compile(
      builder.main, feed: ["x": Self.shape], fetch: [loss])
    #expect(compiled.sideBytes == 0)
    try executor.run(builder.main, feed: feed, fetch: [loss], scope: scope)
    #expect(compiled.sideBytes == Self.tensorBytes)
  }

  /// What stands outside the arena is a resource of each step that touches it: the planner's reports see it, and
  /// steps in another order than their resources allow are refused.
  @Test func stepsDeclareWhatTheyKeep() throws {
    let with = try compiled { x in
      let h = try inplaceABN(conv(x), act: .leakyReLU(slope: 0.1))
      let sum = try leakyReLU(elementwiseAdd(inplaceABN(conv(h)), h), alpha: 0.1)
      let twice = try conv(sum)
      let beside = try conv(twice)
      return try elementwiseAdd(beside, conv(inplaceABN(twice, act: .elu())))
    }
    typealias Use = (reads: Int, writes: Int)
    let wanted: [String: Use] = [
      "inplace_abn": (0, 1), "inplace_abn_grad": (1, 0), "inplace_abn_restore": (1, 0),
      "residual_sum": (1, 1), "residual_term": (1, 0),
    ]
    var seen = Set<String>()
    for step in with.lowered.steps where step.purpose == .work {
      let use = wanted[step.name] ?? (0, 0)
      let accesses = step.resources.map(\.access)
      #expect(accesses.filter { $0 == .read }.count == use.reads, "\(step.name)")
      #expect(accesses.filter { $0 == .write }.count == use.writes, "\(step.name)")
      if !step.resources.isEmpty { seen.insert(step.name) }
    }
    #expect(seen == Set(wanted.keys))
    // Three layers and the sum.
    #expect(with.lowered.sideBuffers.count == 4)
    #expect(with.lowered.sideBuffers.allSatisfy { $0.buffer.mostBytes >= Self.tensorBytes })
    #expect(with.lowered.resourceFault == nil)
    for name in ["residual_term", "inplace_abn_grad"] {
      var moved = with.lowered
      let index = try #require(moved.steps.firstIndex { $0.name == name })
      moved.steps.insert(moved.steps.remove(at: index), at: 0)
      #expect(moved.resourceFault?.contains(name) == true)
    }
  }

  /// Programs for evaluation have no gradients: nothing to decide.
  @Test func evaluationIsLeftAlone() throws {
    let builder = ProgramBuilder()
    let output = try builder.build {
      try inplaceABN(relu(data("x", shape: Self.shape)), act: .swish)
    }
    let compiled = try Executor(backend: CPUBackend()).compile(
      builder.main.cloned(forTest: true), feed: ["x": Self.shape], fetch: [output])
    #expect(compiled.decisions.isEmpty)
  }
}
