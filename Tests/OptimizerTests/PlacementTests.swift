import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

/// Where updates stand in a program.
@Suite struct PlacementTests {
  /// h = tanh(mean over rows of w * h), layer after layer: the gradient of h reads w.
  struct Chain {
    let builder = ProgramBuilder(seed: 4)
    var parameters: [Variable] = []
    var loss: Variable!

    init(layers: Int, shared: Bool = false) throws {
      try builder.build {
        var h = try data("x", shape: [512], dtype: .float64)
        for layer in 0..<layers {
          let type = TensorType([64, 512], .float64)
          let w = try builder.addPersistable(
            named: shared ? "w" : "w\(layer)", type: type, role: .parameter(ParameterTraits()),
            initializer: RandomFill(
              .uniform(low: -2, high: 2), type: type, seed: 5, stream: UInt64(layer)),
            layer: "chain\(layer)", source: SourceLocation(fileID: #fileID, line: #line))
          parameters.append(w)
          h = try tanh(reduceMean(elementwiseMul(w, h), axes: [0]))
        }
        loss = try mean(elementwiseMul(h, h))
      }
    }

    static let feed = [
      "x": Tensor(
        (0..<512).map { CounterRandom(seed: 6, stream: 0).uniform($0) * 2 - 1 } as [Double])
    ]
  }

  /// The same program with all operators of role `optimize` at the end.
  private func updatesLast(_ program: Program) -> Program {
    program.with(
      operators: program.operators.filter { $0.role != .optimize }
        + program.operators.filter { $0.role == .optimize })
  }

  private func arenaBytes(_ program: Program) throws -> Int {
    try Executor(backend: CPUBackend()).compile(program, feed: ["x": [512]]).plan.arenaBytes
  }

  @Test func gradientsShareBytes() throws {
    let chain = try Chain(layers: 6)
    try Momentum(learningRate: 0.1, momentum: 0.9).minimize(
      chain.loss, builder: chain.builder)
    let early = try arenaBytes(chain.builder.main)
    let late = try arenaBytes(updatesLast(chain.builder.main))
    let gradientBytes = 64 * 512 * 8
    // At the end all six gradients are alive at once.
    #expect(late >= 6 * gradientBytes)
    #expect(early <= late - 3 * gradientBytes, "early \(early), late \(late)")
  }

  @Test func aClipByGlobalNormWaits() throws {
    let chain = try Chain(layers: 4)
    try SGD(learningRate: 0.1, gradientClip: .globalNorm(0.01)).minimize(
      chain.loss, builder: chain.builder)
    try chain.builder.main.verify()
    let kinds = chain.builder.main.operators.filter { $0.role == .optimize }.map(\.kindName)
    #expect(kinds.suffix(5) == ["clip_scale", "sgd", "sgd", "sgd", "sgd"])
    // By norm there is nothing to wait for.
    let own = try Chain(layers: 4)
    try SGD(learningRate: 0.1, gradientClip: .norm(0.01)).minimize(own.loss, builder: own.builder)
    #expect(try arenaBytes(own.builder.main) < arenaBytes(chain.builder.main))
  }

  /// Each update is behind its gradient and behind every reader of its parameter, and no further.
  private func checkOrder(_ program: Program) throws {
    try program.verify()
    let operators = program.operators
    for (place, op) in operators.enumerated() where op.kind is any ParameterUpdate {
      let parameter = op.outputs[0]
      let others = operators.enumerated().filter { $0.element.role != .optimize }
      let lastReader = others.last { $0.element.inputs.contains(parameter) }!.offset
      let maker = others.first { $0.element.outputs.contains(op.inputs[1]) }!.offset
      #expect(lastReader < place)
      let between = operators[(max(lastReader, maker) + 1)..<place]
      #expect(between.allSatisfy { $0.role == .optimize })
    }
  }

  @Test func updatesFollowTheLastReader() throws {
    let chain = try Chain(layers: 5)
    try Adam().minimize(chain.loss, builder: chain.builder)
    try checkOrder(chain.builder.main)
    // An update of the last layer comes before the gradient of the first.
    let operators = chain.builder.main.operators
    let update = try #require(operators.firstIndex { $0.outputs.contains(chain.parameters[4].id) })
    let maker = try #require(
      operators.firstIndex { op in
        op.outputs.contains {
          $0 == chain.builder.main.variable(named: "w0@GRAD")!.id
        }
      })
    #expect(update < maker)
  }

  @Test func aSharedParameterIsUpdatedOnceAfterAllLayers() throws {
    let chain = try Chain(layers: 3, shared: true)
    let pairs = try SGD(learningRate: 0.5).minimize(chain.loss, builder: chain.builder)
    #expect(pairs.count == 1)
    try checkOrder(chain.builder.main)
  }

  /// The values after a run are those of a program that updates at the end.
  @Test func placementDoesNotChangeValues() throws {
    func train(_ change: (Program) -> Program) throws -> [Tensor] {
      let chain = try Chain(layers: 4)
      try Momentum(learningRate: 2, momentum: 0.9, regularization: .l2(0.01)).minimize(
        chain.loss, builder: chain.builder)
      let program = change(chain.builder.main)
      let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
      try executor.run(chain.builder.startup, scope: scope)
      for _ in 0..<4 { try executor.run(program, feed: Chain.feed, scope: scope) }
      return chain.parameters.map { scope[$0.name]! }
    }
    #expect(try train { $0 } == train(updatesLast))
  }

  /// Two losses over the same parameters: both backward passes read what was there before the run.
  @Test func twoLosses() throws {
    let chain = try Chain(layers: 2)
    let builder = chain.builder
    let second = try builder.build { try mean(tanh(chain.parameters[0])) }
    try SGD(learningRate: 0.5).minimize(chain.loss, builder: builder)
    try SGD(learningRate: 0.25).minimize(
      second, parameters: [chain.parameters[0]], builder: builder)
    try checkOrder(builder.main)
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    let before = scope["w0"]!.doubles
    // The first loss's gradient has the name; the second's is found by its own run.
    let first = try executor.run(
      builder.main, feed: Chain.feed, fetch: ["w0@GRAD"], scope: scope)[0].doubles
    let wanted = zip(before, first).map { w, g in
      let t = 1 - 2 / (Double.power(2.718281828459045, 2 * w) + 1)
      return w - 0.5 * g - 0.25 * (1 - t * t) / Double(64 * 512)
    }
    expectClose(scope["w0"]!.doubles, wanted, tolerance: 1e-12)
  }
}
