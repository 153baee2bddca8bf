import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How many pieces of such work are going on, and the signal that came meanwhile; 0: none.
private let depth = Atomic<Int>(0)
private let pending = Atomic<Int32>(0)

/// Work on files that a signal does not cut in two: where the handlers of this process end it by
/// `endProcess`, it ends before or after the work.
package enum Uninterrupted {
  /// The most seconds that a signal waits.
  private static let patienceSeconds: UInt32 = 10

  /// Does the work.
  static func run<Result>(_ body: () throws -> Result) rethrows -> Result {
    depth.add(1, ordering: .sequentiallyConsistent)
    defer {
      if depth.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 {
        let number = pending.load(ordering: .sequentiallyConsistent)
        if number != 0 { end(by: number) }
      }
    }
    return try body()
  }

  /// Ends the process by a signal that ends it, after the work on files that is going on, if that
  /// takes no longer than ten seconds. A signal handler may call it, after `prepare`.
  package static func endProcess(by number: Int32) {
    pending.store(number, ordering: .sequentiallyConsistent)
    if depth.load(ordering: .sequentiallyConsistent) == 0 {
      end(by: number)
    } else {
      signal(SIGALRM, SIG_DFL)
      alarm(patienceSeconds)
    }
  }

  /// Makes the variables, which a signal handler must not do.
  package static func prepare() {
    _ = depth.load(ordering: .relaxed) + Int(pending.load(ordering: .relaxed))
  }

  private static func end(by number: Int32) {
    signal(number, SIG_DFL)
    raise(number)
  }
}
