import CTestSupport
import Foundation
import InPlaceABN

/// Trains a step, forks, and trains two more in the parent, in the child and in the child's child: each prints
/// its losses. `ForkTests` runs it.
@main
struct ForkedRun {
  static func main() throws {
    let words = CommandLine.arguments.dropFirst()
    if let threads = words.first.flatMap({ Int($0) }) { Parallel.threads = threads }
    let network = try Network()
    if words.contains("trained") { try network.step() }
    if words.contains("thread") {
      // A team belongs to the thread that had it; this one's child has none.
      nonisolated(unsafe) let network = network
      let thread = Thread { try! family(network) }
      thread.stackSize = 8 << 20
      thread.start()
      while !thread.isFinished { usleep(1000) }
    } else {
      try family(network)
    }
  }

  /// Parent, child and grandchild, one after the other.
  static func family(_ network: Network) throws {
    for _ in 0..<2 {
      let child = abn_test_fork()
      if child == 0 {
        let grandchild = abn_test_fork()
        if grandchild == 0 { try finish(network, "grandchild") }
        waitpid(grandchild, nil, 0)
        try finish(network, "child")
      }
      waitpid(child, nil, 0)
    }
    let threads = Parallel.threads
    print("parent \(try network.losses()) \(threads) threads")
  }

  /// With Swift code that all members of a team run for the first time, at once.
  static func finish(_ network: Network, _ name: String) throws -> Never {
    let threads = Parallel.threads
    Parallel.run(threads) { _ in precondition(Slow.first + Slow.second + Slow.third == 6) }
    print("\(name) \(try network.losses()) \(threads) threads")
    fflush(nil)
    _exit(0)
  }
}

/// Globals that take a while: who needs one meanwhile waits on a lock of Swift's runtime.
enum Slow {
  static let first = after(1)
  static let second = after(2)
  static let third = after(3)

  private static func after(_ number: Int) -> Int {
    usleep(20_000)
    return number
  }
}

/// A convolution in place normalized, on random images.
final class Network {
  private let program: Program
  private let loss: Variable
  private let executor = Executor(backend: CPUBackend())
  private let scope = Scope()
  private let feed: [String: Tensor]

  init() throws {
    let builder = ProgramBuilder(seed: 3)
    loss = try builder.build {
      let x = try data("x", shape: [16, 8, 12, 12])
      let y = try inplaceABN(conv2d(x, numFilters: 16, filterSize: 3, padding: 1))
      let loss = try mean(square(conv2d(y, numFilters: 4, filterSize: 3)))
      try SGD(learningRate: 0.1).minimize(loss)
      return loss
    }
    program = builder.main
    let random = CounterRandom(seed: 5, stream: 0)
    let count = 16 * 8 * 12 * 12
    feed = [
      "x": Tensor(
        (0..<count).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: [16, 8, 12, 12])
    ]
    try executor.run(builder.startup, scope: scope)
  }

  @discardableResult func step() throws -> Float {
    try executor.run(program, feed: feed, fetch: [loss], scope: scope)[0].elements(Float.self)[0]
  }

  func losses() throws -> [Float] { [try step(), try step()] }
}
