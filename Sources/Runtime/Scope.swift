import ABNGraph
import ABNPlanning
import ABNTensors
import Synchronization

/// The values of parameters and state, by name: what outlives a run.
///
/// One run at a time uses a scope; another that is begun meanwhile, with whichever executor, ends with an
/// error. Values may be read and put in from other threads at any time: one that is put in during a run
/// counts from the next run on, one that is read during a run may be half of before and half of after it.
public final class Scope {
  private struct State {
    var values: [String: Tensor] = [:]
    var generation = 0
    var versions: [String: Int] = [:]
    var isInUse = false
    /// What was replaced during a run, which goes on using its bytes.
    var replaced: [Tensor] = []
  }

  private let state = Mutex(State())

  /// Changes when a value is put in from outside, so that addresses may have changed.
  var generation: Int { state.withLock { $0.generation } }

  /// An empty scope.
  public init() {}

  /// The names that have a value, sorted.
  public var names: [String] { state.withLock { $0.values.keys.sorted() } }

  /// The value of a name: a copy that later runs do not change.
  public subscript(name: String) -> Tensor? {
    get { state.withLock { $0.values[name].map(Self.copy) } }
    set {
      let own = newValue.map(Self.copy)
      state.withLock { state in
        if state.isInUse, let old = state.values[name] { state.replaced.append(old) }
        state.values[name] = own
        state.generation += 1
        state.versions[name, default: 0] += 1
      }
    }
  }

  /// A copy of the bytes: executables hold addresses into the stored tensor and write there without asking
  /// whether somebody shares it.
  private static func copy(_ original: Tensor) -> Tensor {
    var copy = original
    copy.withUnsafeMutableBytes { _ in }
    return copy
  }

  /// How often the value of a name was changed: what is made from values asks whether they are the same.
  func version(of name: String) -> Int { state.withLock { $0.versions[name, default: 0] } }

  /// Values have been changed at their addresses.
  func noteChanges(of names: [String]) {
    state.withLock { state in for name in names { state.versions[name, default: 0] += 1 } }
  }

  /// All values, copied.
  public func snapshot() -> [String: Tensor] { state.withLock { $0.values.mapValues(Self.copy) } }

  /// The addresses of the values that a program reads and writes; room is made for those that it only
  /// writes. They stay as long as the generation does, and until the end of a run that uses the scope.
  ///
  /// All in one go: whatever other threads do, an address is that of a value of the port's type.
  ///
  /// - Throws: `ABNError(.feed)` for a value that is missing or of another type, the failure of a tensor
  ///   that could not be made, `.system` where there is no memory. The scope is as it was then.
  func addresses(
    of ports: [(port: LoweredProgram.Port, isRead: Bool)]
  ) throws -> (addresses: [UnsafeMutableRawPointer], generation: Int) {
    let (found, generation) = try state.withLock { state in
      var missing: [String: Tensor] = [:]
      for (port, isRead) in ports {
        if let value = state.values[port.name] {
          let type = TensorType(value.shape, try value.checked().dtype)
          guard type == port.type else {
            throw ABNError(
              .feed, "\"\(port.name)\" in the scope", got: "\(type)", wanted: "\(port.type)",
              fix: "Load values that belong to this program.")
          }
        } else if isRead {
          throw ABNError(
            .feed, "\"\(port.name)\" in the scope", got: "no value", wanted: "\(port.type)",
            fix: "Run the startup program, or load parameters, before this program.")
        } else {
          missing[port.name] = try Tensor(zeros: port.type.shape, dtype: port.type.dtype).checked()
        }
      }
      for name in Array(missing.keys) {
        // Moved, not copied: bytes with a second owner would be copied when they are written to.
        state.values[name] = missing.removeValue(forKey: name)
        state.generation += 1
        state.versions[name, default: 0] += 1
      }
      let found = ports.map { port, _ in
        state.values[port.name]!.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress!) }
      }
      return (found, state.generation)
    }
    return (found.map { UnsafeMutableRawPointer(bitPattern: $0)! }, generation)
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
