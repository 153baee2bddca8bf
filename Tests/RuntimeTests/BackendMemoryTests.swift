import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Nothing but steps and a backend's own copies touches a backend's memory.
@Suite struct BackendMemoryTests {
  /// A network of in-place layers with dropout, trained by Adam along a schedule.
  private struct Network {
    let builder = ProgramBuilder(seed: 5)
    let loss: Variable
    let evaluation: Program

    init() throws {
      let builder = builder
      (loss, evaluation) = try builder.build {
        var x = try data("x", shape: [-1, 3, 8, 8])
        for stride in [1, 2] {
          x = try conv2d(
            x, numFilters: 16, filterSize: 3, stride: [stride], padding: 1,
            biasAttr: .absent)
          x = try inplaceABN(x, act: "leaky_relu", actAlpha: 0.1)
        }
        x = try dropout(flatten(x), probability: 0.3)
        let logits = try fc(x, size: 4)
        let loss = try mean(
          softmaxWithCrossEntropy(logits, data("label", shape: [-1, 1], dtype: .int64)))
        let evaluation = ProgramBuilder.current.main.cloned(forTest: true)
        _ = try Adam(
          learningRate: Schedule.oneCycle(peak: 0.01, steps: 8)
        ).minimize(loss)
        return (loss, evaluation)
      }
    }

    /// Batch `index`.
    func feed(_ index: Int, count: Int = 6) -> [String: Tensor] {
      let random = CounterRandom(seed: 9, stream: UInt64(index))
      let pixels = (0..<count * 192).map { Float(random.uniform(UInt64($0)) - 0.5) }
      return [
        "x": Tensor(pixels, shape: [count, 3, 8, 8]),
        "label": Tensor((0..<count).map { Int64(($0 + index) % 4) }, shape: [count, 1]),
      ]
    }

    /// The losses of some steps.
    func train(_ batches: Range<Int>, _ executor: Executor, _ scope: Scope) throws -> [Tensor] {
      try batches.flatMap {
        try executor.run(builder.main, feed: feed($0), fetch: [loss], scope: scope)
      }
    }

    func evaluate(_ executor: Executor, _ scope: Scope) throws -> Tensor {
      try executor.run(evaluation, feed: feed(99, count: 5), fetch: [loss], scope: scope)[0]
    }
  }

  /// Everything that a training run does with a backend's memory, and what comes of it.
  private struct Course: Equatable {
    var losses: [Tensor] = []
    var evaluations: [Tensor] = []
    var values: [String: Tensor] = [:]

    init(_ network: Network, _ backend: any Backend, mode: PlanningMode? = nil) throws {
      let executor = Executor(backend: backend, mode: mode)
      let scope = Scope()
      try executor.run(network.builder.startup, scope: scope)
      losses = try network.train(0..<3, executor, scope)
      evaluations = [try network.evaluate(executor, scope), try network.evaluate(executor, scope)]
      let folder = FileManager.default.temporaryDirectory.path + "/memory-\(UUID().uuidString)"
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try savePersistables(network.builder.main, scope, to: folder)
      let second = Scope()
      try loadPersistables(network.builder.main, second, from: folder)
      // A value that is put in by hand, over one that a run has left.
      second["fc_0.b_0"] = Tensor([0.5, 0.25, 0, -1] as [Float])
      losses += try network.train(3..<6, executor, second)
      evaluations.append(try network.evaluate(executor, second))
      evaluations.append(try network.evaluate(executor, scope))
      values = second.snapshot()
    }
  }

  @Test func trainsWithoutTouchingWhatIsNotTheHosts() throws {
    let network = try Network()
    let wanted = try Course(network, CPUBackend())
    #expect(Set(wanted.losses.map(\.doubles)).count == 6)
    #expect(wanted.values.count > 20)
    #expect(try Course(network, SealedBackend()) == wanted)
    // The checking mode fills and looks at bytes too.
    #expect(try Course(network, SealedBackend(), mode: .guarded) == wanted)
  }

  /// Values go where the run is, and come back.
  @Test func oneScopeInTwoMemories() throws {
    let network = try Network()
    let (host, sealed) = (CPUBackend(), SealedBackend())
    func losses(_ backends: [any Backend]) throws -> [Tensor] {
      let executors = backends.map { Executor(backend: $0) }
      let scope = Scope()
      try executors[0].run(network.builder.startup, scope: scope)
      return try (0..<6).flatMap {
        try network.train($0..<$0 + 1, executors[$0 % executors.count], scope)
          + [network.evaluate(executors[($0 + 1) % executors.count], scope)]
      }
    }
    #expect(try losses([host, sealed]) == losses([host]))
  }

  /// What the tests above rely on: bytes are sealed outside steps and open inside.
  @Test func theSealHolds() throws {
    let network = try Network()
    let backend = SealedBackend()
    let executor = Executor(backend: backend, mode: .compact)
    let scope = Scope()
    try executor.run(network.builder.startup, scope: scope)
    let (_, profile) = try executor.profile(
      network.builder.main, feed: network.feed(0), fetch: [network.loss], scope: scope)
    #expect(profile.times.count > 10)
    let blocks = backend.sealed.addresses
    // The arena and every value of the scope.
    #expect(blocks.count > scope.names.count)
    #expect(blocks.allSatisfy { !SealedMemory.isReadable($0) })
    #expect(backend.sealed.open { blocks.allSatisfy { SealedMemory.isReadable($0) } })
    #expect(blocks.allSatisfy { !SealedMemory.isReadable($0) })
  }

  /// What the memory refuses is the run's error, and a value's where it was asked for.
  @Test func refusals() throws {
    let network = try Network()
    let backend = RefusingBackend()
    let executor = Executor(backend: backend)
    let scope = Scope()
    try executor.run(network.builder.startup, scope: scope)
    backend.refusing.refuses = true
    #expect(scope["fc_0.b_0"]?.failure?.got == "no copy")
    let error = #expect(throws: ABNError.self) { try network.train(0..<1, executor, scope) }
    #expect(error?.got == "no copy")
    backend.refusing.refuses = false
    #expect(scope["fc_0.b_0"]?.failure == nil)
    #expect(try network.train(0..<1, executor, scope)[0].doubles[0].isFinite)
  }

  private struct RefusingBackend: Backend {
    let name = "refusing"
    let refusing = RefusingMemory()
    var memory: any BackendMemory { refusing }
    func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
      try CPUBackend().lower(program, fetches: fetches)
    }
  }
}

/// The host's memory, whose copies fail when that is asked for.
private final class RefusingMemory: BackendMemory, @unchecked Sendable {
  // Sendable: set between runs of one thread.
  var refuses = false

  private func check() throws {
    if refuses { throw ABNError(.system, "memory", got: "no copy", wanted: "a copy") }
  }

  var capacity: Int? { nil }
  func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    try HostMemory.shared.allocate(bytes)
  }
  func deallocate(_ address: UnsafeMutableRawPointer, bytes: Int) {
    HostMemory.shared.deallocate(address, bytes: bytes)
  }
  func copyIn(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) throws {
    try check()
    HostMemory.shared.copyIn(source, to: target)
  }
  func copyOut(_ source: UnsafeRawPointer, to target: UnsafeMutableRawBufferPointer) throws {
    try check()
    HostMemory.shared.copyOut(source, to: target)
  }
  func fill(_ target: UnsafeMutableRawPointer, with byte: UInt8, count: Int) {
    HostMemory.shared.fill(target, with: byte, count: count)
  }
  func synchronize() {}
}
