import Foundation
import InPlaceABN
import Testing

@testable import ABNChecking

/// The emulated card itself, and programs of every operator that small networks have.
@Suite struct EmulationTests {
  @Test func theEmulationIsBuilt() {
    _ = TestCard.emulation
    #expect(TestCard.failure == nil)
  }

  /// The driver, compiler and kernels do what a card does, and catch mistakes: the client says which.
  @Test(
    .enabled(if: TestCard.emulation != nil),
    arguments: ["", "address", "trailing", "bounds", "index", "barrier", "counter"])
  func catches(_ mistake: String) throws {
    let folder = try #require(TestCard.emulation)
    let client = Process()
    client.executableURL = folder.appending(path: "smoke")
    client.arguments = [folder.path] + (mistake.isEmpty ? [] : [mistake])
    // A second without anybody getting ahead is for ever.
    var environment = ProcessInfo.processInfo.environment
    environment["ABN_STUB_PATIENCE"] = "1"
    // Its kernels are made to show mistakes, and are no card's.
    environment["ABN_STUB_SOURCES"] = nil
    client.environment = environment
    let pipe = Pipe()
    client.standardError = pipe
    client.standardOutput = FileHandle.nullDevice
    try client.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    client.waitUntilExit()
    #expect(client.terminationStatus == 0, "\(text)")
  }

  /// Three steps of training, against the processor's in float32.
  @Test(
    .enabled(if: TestCard.backend != nil),
    arguments: ["lenet", "resnet20 inplace"], [DType.float32, .bfloat16])
  func trains(_ name: String, _ dtype: DType) throws {
    let test = try #require(
      CheckCase.all([.models]).first { $0.name.hasPrefix(name) && $0.dtype == dtype })
    let card = try #require(TestCard.backend)
    let own = try FlatCase.turn.withLock { _ in
      try outcome(test.build(CheckTypes(data: dtype, stored: nil)), on: card)
    }
    let wanted = try outcome(
      test.build(CheckTypes(data: .float32, stored: nil)), on: CPUBackend())
    // Both sides round: each is allowed what the case allows one of them against float64.
    let most = 2 * test.bound.value
    #expect(Set(own.losses).count == 3, "steps that change nothing: \(own.losses)")
    for (a, b) in zip(own.losses, wanted.losses) {
      #expect(abs(a - b) <= most * b, "\(own.losses), on the processor \(wanted.losses)")
    }
    guard dtype == .float32 else { return }
    #expect(!own.states.isEmpty && own.states.keys == wanted.states.keys)
    for (name, value) in own.states {
      let (a, b) = (value.doubles, try #require(wanted.states[name]).doubles)
      func size(_ values: [Double]) -> Double {
        (values.reduce(0) { $0 + $1 * $1 } / Double(values.count)).squareRoot()
      }
      let error = size(zip(a, b).map { $0 - $1 })
      let allowed = 2 * test.stateBound.value * max(size(b), test.stateBound.least)
      #expect(error <= allowed, "\(name): off by \(error), \(allowed) allowed")
    }
  }

  /// The losses of three steps, and what is left in the scope.
  private func outcome(
    _ program: CheckProgram, on backend: any Backend
  ) throws -> (losses: [Double], states: [String: Tensor]) {
    let (executor, scope) = (Executor(backend: backend), Scope())
    try executor.run(program.startup, scope: scope)
    for (name, value) in program.values {
      scope[name] = value.cast(to: try #require(program.main.variable(named: name)).dtype)
    }
    var losses: [Double] = []
    for _ in 0..<3 {
      losses += try executor.run(
        program.main, feed: program.feed, fetch: program.results.map(\.variable), scope: scope
      )[0].doubles
    }
    var states: [String: Tensor] = [:]
    for name in program.states { states[name] = try scope[name]?.checked() }
    return (losses, states)
  }
}
