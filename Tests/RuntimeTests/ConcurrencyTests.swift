import ABNTestSupport
import Foundation
import InPlaceABN
import Synchronization
import Testing

/// What is not to be used from two threads at once says so, and nothing crashes.
@Suite struct ConcurrencyTests {
  /// A value that threads share although its type does not say that it may be.
  private struct Shared<T>: @unchecked Sendable { let value: T }

  private static func network() throws -> (builder: ProgramBuilder, y: Variable) {
    let builder = ProgramBuilder()
    let y = try builder.build {
      var x = try data("x", shape: [Shape.unknown, 32])
      for _ in 0..<4 { x = try fc(x, size: 32, act: .relu) }
      let loss = try mean(x)
      _ = try SGD(learningRate: 0.01).minimize(loss)
      return loss
    }
    return (builder, y)
  }

  /// Runs bodies on threads of their own until each has been called `times` times, and gives the errors.
  private func onThreads(_ times: Int, _ bodies: [@Sendable (Int) throws -> Void]) -> [ABNError] {
    let errors = Mutex<[ABNError]>([])
    DispatchQueue.concurrentPerform(iterations: bodies.count) { index in
      for time in 0..<times {
        do {
          try bodies[index](time)
        } catch let error as ABNError {
          errors.withLock { $0.append(error) }
        } catch {
          Issue.record("\(error)")
        }
      }
    }
    return errors.withLock { $0 }
  }

  /// One executor, one scope, two threads with batches of different sizes, a third that reads, replaces and
  /// removes values: every run ends, rightly or with the error that says what to do.
  @Test func oneExecutor() async {
    await #expect(processExitsWith: .success) {
      try Self.useFromThreads(executors: 1)
    }
  }

  /// Two executors on one scope.
  @Test func oneScope() async {
    await #expect(processExitsWith: .success) {
      try Self.useFromThreads(executors: 2)
    }
  }

  private static func useFromThreads(executors count: Int) throws {
    let (builder, y) = try network()
    let executors = (0..<count).map { _ in Shared(value: Executor(backend: CPUBackend())) }
    let scope = Shared(value: Scope())
    try executors[0].value.run(builder.startup, scope: scope.value)
    let kept = scope.value.snapshot()
    let name = builder.main.parameters[0].name
    let program = builder.main
    let runs = (0..<2).map { thread -> @Sendable (Int) throws -> Void in
      { time in
        let x = Tensor(zeros: [1 + (time * 2 + thread) % 7, 32], dtype: .float32)
        try executors[thread % executors.count].value.run(
          program, feed: ["x": x], fetch: [y], scope: scope.value)
      }
    }
    let meddle: @Sendable (Int) throws -> Void = { time in
      _ = scope.value[name]
      scope.value[name] = time % 5 == 0 ? nil : kept[name]!
      if time % 7 == 0 { scope.value[name] = Tensor(zeros: [1], dtype: .float32) }
      _ = scope.value.snapshot()
      scope.value[name] = kept[name]!
    }
    let errors = ConcurrencyTests().onThreads(200, runs + [meddle])
    for error in errors {
      #expect(error.category == .unsupported || error.category == .feed, "\(error)")
    }
    // Both threads were at it at once at least once.
    #expect(errors.contains { $0.category == .unsupported && $0.fix.contains("each thread") })
    // And nothing is held afterwards.
    try executors[0].value.run(
      program, feed: ["x": Tensor(zeros: [2, 32], dtype: .float32)], fetch: [y],
      scope: scope.value)
  }
}
