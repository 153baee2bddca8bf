import InPlaceABN
import Synchronization

/// Lowers as the processor's does, and counts the operators that it lowers.
public final class CountingBackend: Backend {
  public let name = "counting"
  private let lowered = Mutex(0)
  private let inner = CPUBackend()

  public init() {}

  public var passes: [any ProgramPass] { inner.passes }
  /// Other than the processor's, so that whoever asks elsewhere is seen.
  public var threads: Int { 1000 + inner.threads }

  public func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram {
    lowered.withLock { $0 += program.operators.count }
    return try inner.lower(program, fetches: fetches)
  }

  /// Whether anything has been lowered since the last call.
  public func wasUsed() -> Bool {
    lowered.withLock { count in
      defer { count = 0 }
      return count > 0
    }
  }
}
