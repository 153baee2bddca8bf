import ABNGraph
import ABNOperators
import ABNTensors

/// The exponential moving average (EMA) of each parameter over all updates, to evaluate with in its
/// place.
///
/// average = d * average + (1 - d) * parameter after each update, d = min(decay, (1 + n) / (10 +
/// n)) with n updates before it; the first update sets the average (see
/// `ExponentialAverageUpdate`). `applyProgram` puts the averages into the scope and keeps what was
/// there; `restoreProgram` puts that back, bit by bit. Before the first update both leave the
/// parameters as they are.
///
/// Averaged is what `ModelAverage` averages, and every moving statistic that the forward pass
/// updates, whether it asks for that or not: those of the last weights do not fit averaged ones.
///
/// State: `<name>_ema_0`, first 0, as many bytes as what is averaged; one counter for all,
/// `ema_updates_0`.
package struct ExponentialAverage: Sendable {
  /// Keeps the parameters of a scope aside and puts their averages there.
  package let applyProgram: Program
  /// Puts back what `applyProgram` kept.
  package let restoreProgram: Program
  /// The names of what is averaged.
  package let averagedNames: [String]
  /// The bytes that a scope holds more from apply to restore; no plan has them.
  package let backupBytes: Int
  /// The names under which the scope keeps what was there before, from apply to restore.
  package var backupNames: [String] { averagedNames.map(Self.backupName) }

  private static func backupName(_ name: String) -> String { "\(name)@EMA_BACKUP" }

  /// Appends the averages to the main program, after the updates of an optimizer.
  ///
  /// - Parameters:
  ///   - decay: the share of an average that stays in an update, in 0 ..< 1; 0.999, say.
  ///   - builder: the programs to change.
  /// - Throws: `ABNError(.attribute)` for a number out of range; `.program` where the program
  ///   updates nothing that asks to be averaged.
  package init(
    decay: Double, builder: ProgramBuilder = .current, file: StaticString = #fileID,
    line: UInt = #line
  ) throws {
    let source = SourceLocation(fileID: file, line: line)
    guard decay >= 0, decay < 1 else {
      throw ABNError(
        .attribute, "decay of the weights' average", at: source, got: "\(decay)",
        wanted: "a number in 0 ..< 1")
    }
    let averaged = try builder.main.averagedVariables(
      for: "ExponentialAverage", withStatistics: true, at: source)
    let counterType = TensorType([1], .int64)
    let counter = try builder.addPersistable(
      named: builder.freeName("ema_updates"), type: counterType, role: .state,
      initializer: FillConstant(0, type: counterType), layer: "ema", source: source,
      isNameMadeUp: true)
    _ = try builder.append(Increment(), [counter], role: .optimize, layer: "ema", source: source)
    var apply = Program()
    var restore = Program()
    let applied = try apply.addPersistable(sharing: counter).id
    for variable in averaged {
      let type = variable.type.accumulation
      let average = try builder.addPersistable(
        named: builder.freeName("\(variable.name)_ema"), type: type, role: .state,
        initializer: FillConstant(0, type: type), layer: variable.name, source: source,
        isNameMadeUp: true)
      _ = try builder.append(
        ExponentialAverageUpdate(decay: decay), [variable, average, counter], role: .optimize,
        layer: variable.name, source: source)

      func backup(in program: inout Program) throws -> VariableID {
        try program.addVariable(
          named: Self.backupName(variable.name), type: variable.type, role: .state, source: source
        ).id
      }
      let target = try apply.addPersistable(sharing: variable).id
      let kept = try backup(in: &apply)
      let put = try apply.addPersistable(sharing: average).id
      try apply.append(
        ApplyExponentialAverage(), [target, kept, put, applied], layer: variable.name,
        source: source)
      let restored = try restore.addPersistable(sharing: variable).id
      try restore.append(
        RestoreParameter(), [restored, try backup(in: &restore)], layer: variable.name,
        source: source)
    }
    builder.replaceMain { $0 = $0.withEarlyUpdates() }
    applyProgram = apply
    restoreProgram = restore
    averagedNames = averaged.map(\.name)
    backupBytes = averaged.reduce(0) { $0 + $1.type.bytes }
  }
}

extension Program {
  /// What asks to be averaged and is written by the program.
  ///
  /// - Parameter withStatistics: with all numbers that the forward pass updates.
  /// - Throws: `ABNError(.program)` where no operator updates a parameter that asks.
  func averagedVariables(
    for what: String, withStatistics: Bool = false, at source: SourceLocation
  ) throws -> [Variable] {
    let written = Set(operators.flatMap(\.outputs))
    var asked = averagedState
    if withStatistics {
      asked.formUnion(operators.filter { $0.role == .forward }.flatMap(\.outputs))
    }
    let averaged = persistables.filter { variable in
      written.contains(variable.id) && variable.dtype.isFloatingPoint
        && (variable.parameterTraits?.doModelAverage == true || asked.contains(variable.id))
    }
    guard !averaged.isEmpty else {
      throw ABNError(
        .program, what, at: source,
        got: "a program that updates nothing which asks to be averaged",
        wanted: "updates of parameters with doModelAverage",
        fix: "Call the optimizer's minimize first.")
    }
    return averaged
  }
}
