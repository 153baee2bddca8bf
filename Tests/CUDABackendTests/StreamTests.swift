import Foundation
import InPlaceABN
import Testing

/// What is put on a card's stream beside the steps of one run: feeds of the next, and other threads'.
@Suite(.enabled(if: TestCard.backend != nil)) struct StreamTests {
  private static let shape: Shape = [3, 41]

  /// y = relu(x * 2 + 1), and the executor that runs it.
  ///
  /// - Parameter steps: how many steps change nothing, so that recording takes a while.
  private func program(steps: Int = 0) throws -> Made {
    let builder = ProgramBuilder(seed: 1)
    let y = try builder.build {
      var y = try activation(scale(data("x", shape: Self.shape), factor: 2, bias: 1), .relu)
      for _ in 0..<steps { y = try activation(y, .relu) }
      return y
    }
    return (builder.main, y, Executor(backend: try #require(TestCard.backend)))
  }

  private func feed(_ seed: UInt64) -> Tensor {
    let random = CounterRandom(seed: seed, stream: 5)
    return Tensor(
      (0..<Self.shape.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) },
      shape: Self.shape)
  }

  private func expected(_ x: Tensor) -> [Float] {
    x.elements(Float.self).map { max($0 * 2 + 1, 0) }
  }

  /// Feeds that were copied while the run before went on are those that a run finds; so are others.
  @Test func feedsOfTheNextRunAreCopiedWhileOneRuns() throws {
    let (program, y, executor) = try program()
    let scope = Scope()
    let feeds = (0..<6).map { feed(UInt64($0)) }
    try FlatCase.turn.withLock { _ in
      for (index, x) in feeds.enumerated() {
        // At one place another tensor is announced than comes.
        let next = index == 3 ? feed(99) : index < 5 ? feeds[index + 1] : nil
        let result = try executor.run(
          program, feed: ["x": x], next: next.map { ["x": $0] } ?? [:], fetch: [y], scope: scope)[0]
        #expect(result.elements(Float.self) == expected(x), "run \(index)")
      }
    }
  }

  /// One records its steps while others run theirs: each finds its own results.
  @Test func threadsRunAtTheSameTime() throws {
    let runs = try (0..<4).map { (UInt64($0), try program(steps: 60)) }
    let wrong = try FlatCase.turn.withLock { _ in
      try withThreads(runs) { seed, made in
        var (scope, wrong) = (Scope(), 0)
        for round in 0..<24 {
          // With another scope a program is recorded again, in its second run.
          if round % 3 == 0 { scope = Scope() }
          let x = feed(seed * 100 + UInt64(round))
          let result = try made.executor.run(
            made.program, feed: ["x": x], fetch: [made.y], scope: scope)[0]
          if result.elements(Float.self) != expected(x) { wrong += 1 }
        }
        return wrong
      }
    }
    #expect(wrong == [0, 0, 0, 0])
  }

  private typealias Made = (program: Program, y: Variable, executor: Executor)

  /// The results of `body`, each in a thread of its own.
  private func withThreads(
    _ runs: [(UInt64, Made)], _ body: @escaping (UInt64, Made) throws -> Int
  ) throws -> [Int] {
    let results = Results(count: runs.count)
    // Each element is used by the thread of its index alone.
    nonisolated(unsafe) let (runs, body) = (runs, body)
    DispatchQueue.concurrentPerform(iterations: runs.count) { index in
      results.set(index, (try? body(runs[index].0, runs[index].1)) ?? -1)
    }
    return results.values
  }

  private final class Results: @unchecked Sendable {
    // Sendable: behind the lock.
    private let lock = NSLock()
    private var all: [Int]
    init(count: Int) { all = Array(repeating: -1, count: count) }
    func set(_ index: Int, _ value: Int) { lock.withLock { all[index] = value } }
    var values: [Int] { lock.withLock { all } }
  }
}
