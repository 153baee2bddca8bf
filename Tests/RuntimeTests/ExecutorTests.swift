import ABNTestSupport
import CTestSupport
import InPlaceABN
import Testing

@Suite struct ExecutorTests {
  /// A small network of [conv, layer] pairs, its gradients, and a random image batch.
  struct Network {
    let builder = ProgramBuilder(seed: 3)
    let output: Variable
    let loss: Variable
    let program: Program
    let feed: [String: Tensor]

    init(style: NormStyle = .inplace, depth: Int = 3, batch: Int = 4) throws {
      let options = ModelOptions(classes: 10, norm: style)
      (output, loss) = try builder.build {
        var x = try data("x", shape: [-1, 16, 8, 8])
        for _ in 0..<depth {
          x = try options.normalized(
            conv2d(x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent))
        }
        return (x, try mean(elementwiseMul(x, x)))
      }
      program = try builder.main.differentiated(loss).program
      let random = CounterRandom(seed: 1, stream: 0)
      let count = batch * 16 * 8 * 8
      feed = [
        "x": Tensor(
          (0..<count).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: [batch, 16, 8, 8])
      ]
    }
  }

  @Test func theLayerOverwritesItsInput() throws {
    let network = try Network()
    let executor = Executor(backend: CPUBackend())
    let fetch: [any Fetchable] =
      [network.loss]
      + network.builder.main.parameters.filter { $0.parameterTraits!.trainable }
      .map { "\($0.name)@GRAD" }
    let executable = try executor.compile(
      network.program, feed: network.feed.mapValues(\.shape), fetch: fetch)
    let layers = executable.plan.decisions.filter {
      executable.lowered.steps[$0.step].name == "inplace_abn"
    }
    #expect(layers.count == 3)
    for decision in layers {
      #expect(decision.refusal == nil)
      #expect(
        executable.plan.offsets[decision.sharing.output.index]
          == executable.plan.offsets[decision.sharing.input.index])
    }
  }

  @Test func inPlaceNeedsOneTensorALayerLess() throws {
    func bytes(_ style: NormStyle, _ depth: Int) throws -> Int {
      let network = try Network(style: style, depth: depth)
      let fetch: [any Fetchable] =
        [network.loss]
        + network.builder.main.parameters.filter { $0.parameterTraits!.trainable }
        .map { "\($0.name)@GRAD" }
      return try Executor(backend: CPUBackend(), mode: .compact).compile(
        network.program, feed: network.feed.mapValues(\.shape), fetch: fetch
      ).plan.lowerBoundBytes
    }
    let tensor = 4 * 16 * 8 * 8 * 4
    let inplace = try bytes(.inplace, 9) - bytes(.inplace, 5)
    let standard = try bytes(.standard, 9) - bytes(.standard, 5)
    // Beside the tensors: the gradients of the weights, which are fetched, and saved statistics.
    #expect(standard - inplace == 4 * tensor)
  }

  @Test func fetchingTheOutputAfterTrainingGivesTheOutput() throws {
    let network = try Network()
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    try executor.run(network.builder.startup, scope: scope)
    let forward = try executor.run(
      network.builder.main, feed: network.feed, fetch: [network.output], scope: scope)
    let training = try executor.run(
      network.program, feed: network.feed, fetch: [network.output, "conv2d_0.w_0@GRAD"],
      scope: scope)
    // The two programs may have the image in different layouts, whose sums round differently; a value
    // that was overwritten would be another one altogether.
    expectClose(forward[0].doubles, training[0].doubles, tolerance: 1e-6, "output")
  }

  @Test func oneSeedGivesTheSameBits() throws {
    func run() throws -> [Tensor] {
      let network = try Network()
      let scope = Scope()
      let executor = Executor(backend: CPUBackend())
      try executor.run(network.builder.startup, scope: scope)
      return try executor.run(
        network.program, feed: network.feed,
        fetch: [network.loss, "conv2d_0.w_0@GRAD", "inplace_abn_1.w_0@GRAD"], scope: scope)
    }
    #expect(try run() == run())
  }

  @Test func compiledOncePerShape() throws {
    let network = try Network()
    let executor = Executor(backend: CPUBackend())
    let shapes = network.feed.mapValues(\.shape)
    let first = try executor.compile(network.program, feed: shapes, fetch: [network.loss])
    #expect(try executor.compile(network.program, feed: shapes, fetch: [network.loss]) === first)
    let other = try executor.compile(
      network.program, feed: ["x": [2, 16, 8, 8]], fetch: [network.loss])
    #expect(other !== first)
  }

  @Test func runsKeepTheHeapAsItIs() async {
    // In a process of its own: the tests beside this one move the heap too, some in one direction for minutes.
    await #expect(processExitsWith: .success) {
      let network = try Network()
      let scope = Scope()
      let executor = Executor(backend: CPUBackend())
      try executor.run(network.builder.startup, scope: scope)
      func steps(_ count: Int) throws {
        for _ in 0..<count {
          try executor.run(network.program, feed: network.feed, fetch: [network.loss], scope: scope)
        }
      }
      try steps(2)
      let before = abn_test_heap_bytes()
      try steps(200)
      let growth = abn_test_heap_bytes() - before
      // The smallest block of the heap is 32 bytes: one lost a step would be more than this.
      #expect(growth < 200 * 32, "200 steps left \(growth) bytes on the heap")
    }
  }

  @Test func feedsAndFetchesThatDoNotFit() throws {
    let network = try Network()
    let scope = Scope()
    let executor = Executor(backend: CPUBackend())
    func message(
      feed: [String: Tensor], fetch: [any Fetchable], started: Bool = true
    ) throws -> String {
      if started { try executor.run(network.builder.startup, scope: scope) }
      let error = #expect(throws: ABNError.self) {
        try executor.run(network.program, feed: feed, fetch: fetch, scope: scope)
      }
      return error?.description ?? ""
    }
    #expect(
      try message(feed: network.feed, fetch: [network.loss], started: false)
        .contains("Run the startup program"))
    #expect(try message(feed: [:], fetch: [network.loss]).contains("got nothing"))
    #expect(
      try message(feed: ["x": Tensor(zeros: [4, 3], dtype: .float32)], fetch: [network.loss])
        .contains("wanted [?, 16, 8, 8]"))
    #expect(
      try message(
        feed: ["x": Tensor(zeros: [4, 16, 8, 8], dtype: .float64)], fetch: [network.loss]
      ).contains("cast(to: .float32)"))
    #expect(
      try message(feed: network.feed, fetch: ["conv2d_0.w_0@GRAAD"])
        .contains("Did you mean \"conv2d_0.w_0@GRAD\"?"))
    #expect(
      try message(
        feed: ["y": Tensor(zeros: [4, 16, 8, 8], dtype: .float32)], fetch: [network.loss]
      ).contains("\"y\""))
  }
}
