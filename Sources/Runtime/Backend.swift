import ABNGraph
import ABNTensors

/// Turns programs whose shapes are all known into steps.
public protocol Backend: Sendable {
  /// For messages.
  var name: String { get }

  /// What a program goes through before it is lowered, in this order.
  var passes: [any ProgramPass] { get }

  /// Where steps find their arguments. The same object as long as values that one executor leaves
  /// in a scope can be where another one finds them.
  var memory: any BackendMemory { get }

  /// The threads that steps run on when called from here. What is lowered may depend on it, so an
  /// executor compiles anew where it has changed.
  var threads: Int { get }

  /// How runs share the processors with other runs, of this process or another; nil: they do not.
  var turns: (any Turns)? { get }

  /// At most the bytes of what the steps of a program look up beside their arguments, in memory of
  /// their own, as the weights of a resize. Asked before they are made.
  func tableBytes(of program: Program) -> Int

  /// - Throws: `ABNError(.unsupported)` for a kind or element type that the backend cannot run.
  func lower(_ program: Program, fetches: [VariableID]) throws -> LoweredProgram
}

extension Backend {
  /// None.
  public var passes: [any ProgramPass] { [] }

  /// The host's.
  public var memory: any BackendMemory { HostMemory.shared }

  /// One.
  public var threads: Int { 1 }

  /// None.
  public var turns: (any Turns)? { nil }

  /// None.
  public func tableBytes(of program: Program) -> Int { 0 }
}

/// Runs that want the same processors take turns, so that none waits for a thread that is not
/// scheduled. Turns change when a step runs, never what it computes.
public protocol Turns: Sendable {
  /// Waits for the turn of the calling thread; a run begins.
  func begin()
  /// Between two steps: lets others go first if this run has had its time.
  func next()
  /// The run has ended.
  func end()
}
