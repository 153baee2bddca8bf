import ABNTensors

/// The values of parameters and state, by name: what outlives a run.
public final class Scope {
  private var values: [String: Tensor] = [:]
  /// Changes when a value is put in from outside, so that addresses may have changed.
  private(set) var generation = 0

  /// How often each value was changed: what is made from values asks whether they are the same.
  private var versions: [String: Int] = [:]

  /// An empty scope.
  public init() {}

  /// The names that have a value, sorted.
  public var names: [String] { values.keys.sorted() }

  /// The value of a name: a copy that later runs do not change.
  public subscript(name: String) -> Tensor? {
    get {
      // A copy of the bytes: executables hold addresses into the stored tensor and write there
      // without asking whether somebody shares it.
      values[name].map { original in
        var copy = original
        copy.withUnsafeMutableBytes { _ in }
        return copy
      }
    }
    set {
      values[name] = newValue.map { given in
        var own = given
        own.withUnsafeMutableBytes { _ in }
        return own
      }
      generation += 1
      noteChange(of: name)
    }
  }

  /// How often the value of a name was changed.
  func version(of name: String) -> Int { versions[name, default: 0] }

  /// A value has been changed, here or at its address.
  func noteChange(of name: String) { versions[name, default: 0] += 1 }

  /// All values, copied.
  public func snapshot() -> [String: Tensor] {
    Dictionary(uniqueKeysWithValues: values.keys.map { ($0, self[$0]!) })
  }

  /// The type of a stored value.
  func type(of name: String) -> (shape: Shape, dtype: DType)? {
    values[name].map { ($0.shape, $0.dtype) }
  }

  /// Makes room for a value that a program is about to write.
  func make(_ name: String, shape: Shape, dtype: DType) {
    values[name] = Tensor(zeros: shape, dtype: dtype)
    generation += 1
    noteChange(of: name)
  }

  /// The address of a stored value: stays as long as `generation` does.
  func address(of name: String) -> UnsafeMutableRawPointer {
    values[name]!.withUnsafeMutableBytes { UnsafeMutableRawPointer($0.baseAddress!) }
  }
}
