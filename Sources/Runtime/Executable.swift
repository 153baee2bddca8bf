import ABNGraph
import ABNPlanning
import ABNTensors

/// A compiled program: steps, a plan, and the table of addresses that binds them.
public final class Executable {
  /// The steps, buffers and ports.
  public let lowered: LoweredProgram
  /// Where everything lives.
  public let plan: MemoryPlan
  /// What the passes decided before the program was lowered.
  public let decisions: [PassDecision]

  private var table: UnsafeMutablePointer<UnsafeMutableRawPointer>
  private let starts: [Int]
  private var boundArena = -1
  private var boundScope = -1
  private weak var scope: Scope?
  private var addresses: [UnsafeMutableRawPointer?]

  /// Plans a lowered program.
  public init(_ lowered: LoweredProgram, decisions: [PassDecision] = []) {
    self.lowered = lowered
    self.decisions = decisions
    plan = MemoryPlan(lowered.planRequest)
    var starts: [Int] = []
    var count = 0
    for step in lowered.steps {
      starts.append(count)
      count += step.arguments.count
    }
    self.starts = starts
    table = .allocate(capacity: max(count, 1))
    addresses = Array(repeating: nil, count: lowered.buffers.count)
  }

  deinit { table.deallocate() }

  /// Arena and everything that lives in the scope: what a run needs, known before the first step.
  public var plannedPeakBytes: Int {
    plan.arenaBytes + lowered.persistents.reduce(0) { $0 + $1.port.type.bytes }
  }

  /// The bytes that steps asked for because of their data.
  public var sideBytes: Int { lowered.sideBuffers.reduce(0) { $0 + $1.buffer.bytes } }

  /// Resolves every argument of every step to an address, if arena or scope have moved.
  func bind(arena: Arena, scope: Scope) throws {
    try arena.reserve(max(plan.arenaBytes, 64))
    if boundArena == arena.generation, boundScope == scope.generation, self.scope === scope {
      return
    }
    for (port, isRead) in lowered.persistents {
      if let (shape, dtype) = scope.type(of: port.name) {
        guard shape == port.type.shape, dtype == port.type.dtype else {
          throw ABNError(
            .feed, "\"\(port.name)\" in the scope", got: "\(TensorType(shape, dtype))",
            wanted: "\(port.type)", fix: "Load values that belong to this program.")
        }
      } else if isRead {
        throw ABNError(
          .feed, "\"\(port.name)\" in the scope", got: "no value", wanted: "\(port.type)",
          fix: "Run the startup program, or load parameters, before this program.")
      } else {
        scope.make(port.name, shape: port.type.shape, dtype: port.type.dtype)
      }
    }
    for (index, offset) in plan.offsets.enumerated() {
      addresses[index] = offset.map { arena.base! + $0 }
    }
    for (port, _) in lowered.persistents {
      addresses[port.buffer.index] = scope.address(of: port.name)
    }
    for (step, start) in zip(lowered.steps, starts) {
      for (position, argument) in step.arguments.enumerated() {
        table[start + position] = addresses[argument.buffer.index]!
      }
    }
    boundArena = arena.generation
    boundScope = scope.generation
    self.scope = scope
  }

  /// Copies the feeds in and runs every step.
  func run(feed: [String: Tensor], verbosity: Int) {
    for port in lowered.feeds {
      feed[port.name]!.withUnsafeBytes {
        if let base = $0.baseAddress {
          addresses[port.buffer.index]!.copyMemory(from: base, byteCount: $0.count)
        }
      }
    }
    guard verbosity >= 2 else {
      for (step, start) in zip(lowered.steps, starts) {
        step.run(StepPointers(base: UnsafePointer(table + start)))
      }
      return
    }
    var times = StepTimes()
    for (step, start) in zip(lowered.steps, starts) {
      let begin = StepTimes.now
      step.run(StepPointers(base: UnsafePointer(table + start)))
      times.add(step.name, StepTimes.now - begin)
    }
    times.write()
  }

  /// Copies of the fetched values.
  func fetched() -> [Tensor] {
    lowered.fetches.map { port in
      var tensor = Tensor(uninitialized: port.type.shape, dtype: port.type.dtype)
      tensor.withUnsafeMutableBytes {
        if let base = $0.baseAddress {
          base.copyMemory(from: addresses[port.buffer.index]!, byteCount: $0.count)
        }
      }
      return tensor
    }
  }
}
