import Foundation
import InPlaceABN
import Synchronization
import Testing

@testable import ABNRuntime

/// Runs that want all processors take turns.
@Suite(.serialized) struct TurnsTests {
  /// What threads did, in the order in which they did it.
  private struct Log {
    var owners: [Int] = []
    var inside = 0
    var most = 0
  }

  private final class Shared<T: Sendable>: Sendable {
    let value: Mutex<T>
    init(_ value: T) { self.value = Mutex(value) }
  }

  /// Runs bodies at the same time, each on a thread of its own: of a pool that others use some might begin when the first
  /// have ended.
  private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for number in 0..<count {
      group.enter()
      Thread {
        body(number)
        group.leave()
      }.start()
    }
    group.wait()
  }

  /// Several threads at work for several times the length of a turn each: one at a time, none of them shut out until the
  /// others are done.
  @Test func oneAtATime() throws {
    let turns = try #require(CPUBackend().turns)
    // Teams of one do not take turns.
    guard CPUBackend().threads > 1 else { return }
    let log = Shared(Log())
    onThreads(3) { thread in
      for _ in 0..<15 {
        turns.begin()
        for _ in 0..<5 {
          turns.next()
          log.value.withLock {
            $0.owners.append(thread)
            $0.inside += 1
            $0.most = max($0.most, $0.inside)
          }
          usleep(2_000)
          log.value.withLock { $0.inside -= 1 }
        }
        turns.end()
      }
    }
    let (owners, most) = log.value.withLock { ($0.owners, $0.most) }
    #expect(owners.count == 3 * 15 * 5)
    #expect(most == 1)
    let changes = zip(owners, owners.dropFirst()).count { $0 != $1 }
    // Of 150 ms in turns of 20 ms each has five or more: every pair of neighbours would change hands with none.
    #expect(changes >= 6, "\(changes) changes")
    #expect(changes < owners.count / 2, "\(changes) changes")
  }

  /// A thread that keeps its turn idle does not keep the others waiting.
  @Test func idleTurns() throws {
    let turns = try #require(CPUBackend().turns)
    turns.begin()
    turns.end()
    let done = Shared(false)
    onThreads(1) { _ in
      turns.begin()
      turns.next()
      turns.end()
      done.value.withLock { $0 = true }
    }
    #expect(done.value.withLock { $0 })
    // Without a turn, and twice: no harm.
    turns.next()
    turns.end()
    turns.end()
  }

  @Test func theVariable() throws {
    #expect(try Debug.parseSwitch("ABN_TURNS", nil, default: true).get())
    #expect(try Debug.parseSwitch("ABN_TURNS", "0", default: true).get() == false)
    let error = #expect(throws: ABNError.self) {
      try Debug.parseSwitch("ABN_TURNS", "no", default: true).get()
    }
    #expect(error?.description.contains("ABN_TURNS") == true)
  }
}
