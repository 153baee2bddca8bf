import ABNTensors

/// Which variable of a program: an index into its table. Passes keep the numbers.
public struct VariableID: Hashable, Sendable, Comparable {
  /// The position in `Program.variables`.
  public let index: Int
  init(_ index: Int) { self.index = index }
  public static func < (a: VariableID, b: VariableID) -> Bool { a.index < b.index }
}

/// A penalty added to a parameter's gradient.
public enum Regularizer: Sendable, Hashable {
  /// gradient + coefficient * sign(parameter).
  case l1(Double)
  /// gradient + coefficient * parameter.
  case l2(Double)
}

/// A bound on gradients, applied before the optimizer's update and before decay is added.
public enum GradientClip: Sendable, Hashable {
  /// Each element into min...max.
  case value(min: Double, max: Double)
  /// Each gradient scaled so that its Euclidean norm is at most this.
  case norm(Double)
  /// All gradients of the group scaled together so that their common norm is at most `norm`.
  case globalNorm(Double, group: String = "default")
}

/// How a parameter is trained.
public struct ParameterTraits: Sendable, Hashable {
  /// Multiplies the optimizer's learning rate.
  public var learningRate: Double = 1
  /// Takes precedence over the optimizer's own.
  public var regularizer: Regularizer? = nil
  /// Whether the optimizer updates it.
  public var trainable: Bool = true
  /// Whether ModelAverage averages it.
  public var doModelAverage: Bool = false
  /// Takes precedence over the optimizer's own.
  public var gradientClip: GradientClip? = nil

  /// The defaults: trainable, learning rate 1, no penalty, no clip, not averaged.
  public init() {}
}

/// What a variable is for.
public enum VariableRole: Sendable, Hashable {
  /// Fed by the caller at every run.
  case data
  /// Trained: lives in the scope, updated by an optimizer.
  case parameter(ParameterTraits)
  /// Lives in the scope and is not trained by gradients: moving statistics, momentum, counters.
  case state
  /// Made by one operator and gone at the end of the run.
  case temporary
}

/// A tensor in a program: a name, a type, a role, and the source line that made it.
public struct Variable: Sendable, Hashable, Identifiable {
  /// Which variable of its program.
  public let id: VariableID
  /// Unique in its program.
  public internal(set) var name: String
  /// Shape and element type.
  public internal(set) var type: TensorType
  /// What it is for.
  public internal(set) var role: VariableRole
  /// The line that made it.
  public let source: SourceLocation
  /// Whether gradients end here. True for data unless asked otherwise.
  public internal(set) var stopsGradient: Bool
  /// A number that no other variable of the process has: copies of its program, and programs that
  /// passes make of it, keep it.
  package let identity: UInt64
  /// Whether nobody chose its name: that of a layer without a name, or of an optimizer's state.
  /// Another builder makes up the same names.
  package let isNameMadeUp: Bool

  /// The dimensions.
  public var shape: Shape { type.shape }
  /// The element type.
  public var dtype: DType { type.dtype }

  /// Whether its value outlives a run.
  public var isPersistable: Bool {
    switch role {
    case .parameter, .state: true
    case .data, .temporary: false
    }
  }

  /// How it is trained, where it is a parameter.
  public var parameterTraits: ParameterTraits? {
    if case .parameter(let traits) = role { traits } else { nil }
  }
}
