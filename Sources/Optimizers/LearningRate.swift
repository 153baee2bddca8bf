import ABNGraph
import ABNOperators
import ABNTensors

/// Where an optimizer's learning rate comes from.
public enum LearningRate: Sendable, Hashable {
  /// A number. It is a persistable of the program, `learning_rate_<n>`, so that a value put into
  /// the scope under that name counts from the next run on.
  case constant(Double)
  /// A function of the number of runs: `Schedule`.
  case schedule(Schedule)
  /// A variable of the program of shape [1], float32 or float64, that the caller computes or feeds.
  case variable(Variable)
}

/// What can be given as a learning rate: a number, a `Schedule`, a `Variable`.
public protocol LearningRateConvertible: Sendable {
  /// Where the rate comes from.
  var asLearningRate: LearningRate { get }
}

extension LearningRate: LearningRateConvertible {
  public var asLearningRate: LearningRate { self }
}
extension Double: LearningRateConvertible {
  public var asLearningRate: LearningRate { .constant(self) }
}
extension Int: LearningRateConvertible {
  public var asLearningRate: LearningRate { .constant(Double(self)) }
}
extension Schedule: LearningRateConvertible {
  public var asLearningRate: LearningRate { .schedule(self) }
}
extension Variable: LearningRateConvertible {
  public var asLearningRate: LearningRate { .variable(self) }
}

extension LearningRate {
  /// Checks what does not need a program.
  func validate() throws {
    switch self {
    case .constant(let value):
      guard value >= 0, value <= Schedule.largestRate else {
        throw ABNError(
          .attribute, "learning rate", got: "\(value)",
          wanted: "a finite number of at least 0 that float32 holds")
      }
    case .schedule(let schedule): _ = try schedule.validated()
    case .variable(let variable): try requireLearningRate(variable.type)
    }
  }

  /// The variable that updates read; made in the builder's programs where there is none yet.
  func variable(
    for loss: Variable, in builder: ProgramBuilder, source: SourceLocation
  ) throws -> Variable {
    let dtype: DType = loss.dtype == .float64 ? .float64 : .float32
    switch self {
    case .variable(let variable): return variable
    case .schedule(let schedule):
      return try schedule.variable(dtype: dtype, builder: builder, source: source)
    case .constant(let value):
      let type = TensorType([1], dtype)
      return try builder.addPersistable(
        named: builder.freeName("learning_rate"), type: type, role: .state,
        initializer: FillConstant(value, type: type), layer: "learning_rate", source: source,
        isNameMadeUp: true)
    }
  }
}

extension Schedule {
  /// The name, after the builder's prefix, of the step counter of a program's first schedule; those
  /// of further ones end in `_1`, `_2`, ...: each optimizer counts for itself. int64 [1],
  /// persistent, 0 in the first run and one more in each run. To go on where a training stopped,
  /// save it.
  package static let counterName = "@LR_DECAY_COUNTER@"

  /// Appends the learning rate of each run, and its counter, to the main program.
  ///
  /// For a rate that two optimizers share, or that is fetched; an optimizer that is given the
  /// schedule itself does this on its own.
  ///
  /// - Parameter dtype: float32 or float64.
  /// - Returns: a variable of shape [1], named `learning_rate_<n>`.
  /// - Throws: `ABNError(.attribute)` for numbers out of range (see `validated`).
  package func variable(
    dtype: DType = .float32, builder: ProgramBuilder = .current, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Variable {
    try variable(
      dtype: dtype, builder: builder, source: SourceLocation(fileID: file, line: line))
  }

  func variable(
    dtype: DType, builder: ProgramBuilder, source: SourceLocation
  ) throws -> Variable {
    let layer = "learning_rate"
    let kind: ScheduledValue
    do {
      kind = try ScheduledValue(self, dtype: dtype)
    } catch let error as ABNError {
      throw error.located(in: "", at: source)
    }
    let type = TensorType([1], .int64)
    // One below 0, and counted up before it is read, as in Paddle: a saved value is that of the
    // last run.
    let counter = try builder.addPersistable(
      named: builder.freeCounterName(), type: type, role: .state,
      initializer: FillConstant(-1, type: type), layer: layer, source: source, isNameMadeUp: true)
    let name = builder.freeName(layer)
    return try builder.replaceMain { program in
      try program.append(Increment(), [counter.id], role: .optimize, layer: layer, source: source)
      return try program.append(
        kind, [counter.id], role: .optimize, layer: layer, source: source, outputNames: [name])[0]
    }
  }
}

extension ProgramBuilder {
  /// `name_0`, or the first `name_<n>` that no variable of the main program has, after the
  /// builder's prefix.
  func freeName(_ name: String) -> String {
    let program = main
    let prefix = prefixed(name)
    var number = 0
    while program.variable(named: "\(prefix)_\(number)") != nil { number += 1 }
    return "\(prefix)_\(number)"
  }

  /// `Schedule.counterName`, or the first that is free of those that end in a number from 1.
  fileprivate func freeCounterName() -> String {
    let program = main
    let first = prefixed(Schedule.counterName)
    guard program.variable(named: first) != nil else { return first }
    var number = 1
    while program.variable(named: "\(first)_\(number)") != nil { number += 1 }
    return "\(first)_\(number)"
  }
}
