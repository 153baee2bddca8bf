import ABNGraph
import ABNPlanning
import ABNTensors
import Synchronization

/// The values of parameters and state, by name: what outlives a run.
///
/// One run at a time uses a scope; another that is begun meanwhile, with whichever executor, ends
/// with an error. Values may be read and put in from other threads at any time: one that is put in
/// during a run counts from the next run on, one that is read during a run may be half of before
/// and half of after it.
public final class Scope {
  /// A value is the host's until a run wants it, and then where that run's backend has its memory.
  private enum Value {
    case host(Tensor)
    case resident(MemoryBlock, TensorType)

    /// A copy that later runs do not change. One that cannot be had says why in its `failure`.
    var copy: Tensor {
      switch self {
      case .host(let tensor): return tensor
      case .resident(let block, let type):
        do {
          return try block.memory.tensor(at: block.base, type)
        } catch {
          return Tensor(failure: error, shape: type.shape, dtype: type.dtype)
        }
      }
    }

    /// The type of a value whose tensor could be made.
    func type() throws -> TensorType {
      switch self {
      case .host(let tensor): TensorType(tensor.shape, try tensor.checked().dtype)
      case .resident(_, let type): type
      }
    }

    /// The bytes, if they are in a memory.
    func block(in memory: any BackendMemory) -> MemoryBlock? {
      guard case .resident(let block, _) = self, block.memory === memory else { return nil }
      return block
    }
  }

  private struct State {
    var values: [String: Value] = [:]
    var generation = 0
    var versions: [String: Int] = [:]
    var isInUse = false
    /// What was replaced during a run, which goes on using its bytes.
    var replaced: [Value] = []
    /// Whose the values are that stand under names which nobody chose.
    var owners: [String: Owner] = [:]
    /// Revisions of programs that have been admitted.
    var admitted = Set<UInt64>()
  }

  /// A variable, and what the network is made of that it belongs to: its parameters.
  private struct Owner {
    let variable: Variable
    let parameters: Set<String>
  }

  private let state = Mutex(State())

  /// Changes when a value is put in from outside or moves to another memory, so that addresses may
  /// have changed.
  var generation: Int { state.withLock { $0.generation } }

  /// An empty scope.
  public init() {}

  /// The names that have a value, sorted.
  public var names: [String] { state.withLock { $0.values.keys.sorted() } }

  /// The value of a name: a copy that later runs do not change. One that cannot be copied to the
  /// host is a tensor with a `failure`.
  public subscript(name: String) -> Tensor? {
    get { state.withLock { $0.values[name]?.copy } }
    set {
      state.withLock { state in
        if state.isInUse, let old = state.values[name] { state.replaced.append(old) }
        state.values[name] = newValue.map { .host($0) }
        state.generation += 1
        state.versions[name, default: 0] += 1
        // It belongs to the program that uses it next.
        if state.owners.removeValue(forKey: name) != nil { state.admitted = [] }
      }
    }
  }

  /// Lets a program use the scope, unless another network's values stand under the names that its
  /// builder made up: without a prefix every builder calls the weight of its first layer
  /// `fc_0.w_0`.
  ///
  /// Copies of a program, and what passes make of it, are the same network; so are two programs
  /// with the same parameters whose layers stand in the same lines: a network that is built again.
  ///
  /// - Throws: `ABNError(.name)` with the lines of both.
  func admit(_ program: Program) throws {
    try state.withLock { state in
      guard !state.admitted.contains(program.revision) else { return }
      let parameters = Set(program.parameters.map { "\($0.name): \($0.type)" })
      let madeUp = program.persistables.filter(\.isNameMadeUp)
      for variable in madeUp {
        // A run that was refused has left its names, but no values.
        guard state.values[variable.name] != nil, let owner = state.owners[variable.name],
          owner.variable.identity != variable.identity
        else { continue }
        guard owner.variable.source == variable.source, owner.parameters == parameters else {
          throw ABNError(
            .name, "\(quoted(variable.name)) in the scope", at: variable.source,
            got: "a program whose builder made up the name of a value of another network, made at "
              + "\(owner.variable.source)",
            wanted: "names that belong to one network",
            fix: "Give each ProgramBuilder a prefix, or each network a Scope; what networks are "
              + "meant to share gets its name in a ParamAttr.")
        }
      }
      for variable in madeUp {
        let known = state.owners[variable.name]
        // Programs that share some of a builder's variables know only some of its parameters.
        let isPart =
          known?.variable.identity == variable.identity
          && known!.parameters.count > parameters.count
        state.owners[variable.name] = Owner(
          variable: variable, parameters: isPart ? known!.parameters : parameters)
      }
      state.admitted.insert(program.revision)
    }
  }

  /// How often the value of a name was changed: what is made from values asks whether they are the
  /// same.
  func version(of name: String) -> Int { state.withLock { $0.versions[name, default: 0] } }

  /// Values have been changed at their addresses.
  func noteChanges(of names: [String]) {
    state.withLock { state in for name in names { state.versions[name, default: 0] += 1 } }
  }

  /// All values, copied.
  public func snapshot() -> [String: Tensor] { state.withLock { $0.values.mapValues(\.copy) } }

  /// The addresses, in a memory, of the values that a program reads and writes: values that are
  /// elsewhere move there, and room is made for those that it only writes. They stay as long as the
  /// generation does, and until the end of a run that uses the scope.
  ///
  /// All in one go: whatever other threads do, an address is that of a value of the port's type.
  ///
  /// - Throws: `ABNError(.feed)` for a value that is missing or of another type, the failure of a
  ///   tensor that could not be made, `.system` where there is no memory. The scope's values are as
  ///   they were then.
  func addresses(
    of ports: [(port: LoweredProgram.Port, isRead: Bool)], in memory: any BackendMemory
  ) throws -> (addresses: [UnsafeMutableRawPointer], generation: Int) {
    let (found, generation) = try state.withLock { state in
      let names = try Self.missing(ports, in: state)
      for (port, _) in ports {
        guard let value = state.values[port.name], value.block(in: memory) == nil else { continue }
        // One after the other: there may not be room for all of them twice.
        let block = try MemoryBlock(port.type.bytes, in: memory)
        try memory.copyIn(try value.copy.checked(), to: block.base)
        state.values[port.name] = .resident(block, port.type)
        state.generation += 1
      }
      let made = try names.map { port in
        (port, try MemoryBlock(port.type.bytes, in: memory))
      }
      for (port, block) in made {
        state.values[port.name] = .resident(block, port.type)
        state.generation += 1
        state.versions[port.name, default: 0] += 1
      }
      let found = ports.map { port, _ in
        UInt(bitPattern: state.values[port.name]!.block(in: memory)!.base)
      }
      return (found, state.generation)
    }
    return (found.map { UnsafeMutableRawPointer(bitPattern: $0)! }, generation)
  }

  /// The ports that have no value and need none.
  ///
  /// - Throws: `ABNError(.feed)` for a value that is missing or of another type.
  private static func missing(
    _ ports: [(port: LoweredProgram.Port, isRead: Bool)], in state: State
  ) throws -> [LoweredProgram.Port] {
    var missing: [LoweredProgram.Port] = []
    for (port, isRead) in ports {
      if let type = try state.values[port.name]?.type() {
        guard type == port.type else {
          throw ABNError(
            .feed, "\(quoted(port.name)) in the scope", got: "\(type)", wanted: "\(port.type)",
            fix: "Load values that belong to this program.")
        }
      } else if isRead {
        throw ABNError(
          .feed, "\(quoted(port.name)) in the scope", got: "no value", wanted: "\(port.type)",
          fix: "Run the startup program, or load parameters, before this program.")
      } else {
        missing.append(port)
      }
    }
    return missing
  }

  /// Calls `body` as the one run that uses the scope.
  ///
  /// - Throws: what `body` throws; `ABNError(.unsupported)` where another run uses the scope.
  func used<R>(by body: () throws -> R) throws -> R {
    let isFree = state.withLock { state in
      defer { state.isInUse = true }
      return !state.isInUse
    }
    guard isFree else {
      throw ABNError(
        .unsupported, "scope", got: "a run while another one uses it, on another thread",
        wanted: "one run at a time", fix: "Give each thread an executor and a scope of its own.")
    }
    defer {
      state.withLock { state in
        state.isInUse = false
        state.replaced = []
      }
    }
    return try body()
  }
}
