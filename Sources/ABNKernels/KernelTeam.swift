/// The threads that a call's work is spread over, and how it is handed to them.
///
/// Results do not depend on it, bit by bit: what a sum is made of follows from the shape alone.
public struct KernelTeam: Sendable {
  /// How many threads `run` has: the t-th part of as many runs on the t-th. It decides the order of
  /// the work on channels that only the caches of several cores together can hold, and which part
  /// of a tensor a thread goes over a second time (the one that it went over first). Below 1 it
  /// counts as 1.
  public let count: Int
  /// Calls `body(0) ... body(parts - 1)`, each once, in any order and on any threads, and returns
  /// when all are done.
  public let run: @Sendable (_ parts: Int, _ body: @Sendable (Int) -> Void) -> Void

  /// A team of `count` threads.
  public init(
    count: Int, run: @escaping @Sendable (_ parts: Int, _ body: @Sendable (Int) -> Void) -> Void
  ) {
    self.count = max(1, count)
    self.run = run
  }

  /// The calling thread alone: one part after the other.
  public static let serial = KernelTeam(count: 1) { parts, body in
    for part in 0..<parts { body(part) }
  }
}

/// What every call needs beside its tensors.
public struct ABNWorkspace {
  /// `ABNKernel.scratchBytes` bytes, aligned to 64; their contents mean nothing between calls.
  public var scratch: UnsafeMutableRawPointer
  /// The threads that do the work.
  public var team: KernelTeam

  /// Collects the two.
  public init(scratch: UnsafeMutableRawPointer, team: KernelTeam = .serial) {
    self.scratch = scratch
    self.team = team
  }
}
