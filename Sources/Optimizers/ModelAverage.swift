import ABNGraph
import ABNOperators
import ABNTensors

/// The mean of each parameter over a window of past updates, to evaluate with in its place.
///
/// The training program adds up parameters after their updates (see `AverageAccumulate` for windows
/// and rounding). `applyProgram` puts the means into the scope and keeps what was there;
/// `restoreProgram` puts that back, bit by bit. After n updates the mean covers the open window and
/// the last closed one: all n while n < minAverageWindow.
///
/// Averaged is what asks for it (`ParameterTraits.doModelAverage`, `Program.averagedState`) and is
/// written by the program: parameters that are trained, moving statistics. What nothing writes is
/// its own mean.
///
/// State: `<name>_sum_1_0`, `_sum_2_0`, `_sum_3_0`, `_num_accumulates_0`, `_old_num_accumulates_0`,
/// `_num_updates_0`, first 0. Three times the bytes of what is averaged.
public struct ModelAverage: Sendable {
  /// Keeps the parameters of a scope aside and puts their means there.
  public let applyProgram: Program
  /// Puts back what `applyProgram` kept.
  public let restoreProgram: Program
  /// The names of what is averaged.
  public let averagedNames: [String]
  /// The names under which the scope keeps what was there before, from apply to restore.
  package var backupNames: [String] { averagedNames.map(Self.backupName) }

  private static func backupName(_ name: String) -> String { "\(name)@AVERAGE_BACKUP" }

  /// Appends the sums to the main program, after the updates of an optimizer.
  ///
  /// - Parameters:
  ///   - averageWindowRate: the window's length as a share of all updates so far, in 0...1.
  ///   - minAverageWindow: the updates that a window holds at least; at least 1.
  ///   - maxAverageWindow: the updates after which a window closes in any case; not below the
  ///     minimum.
  ///   - builder: the programs to change.
  /// - Throws: `ABNError(.attribute)` for a number out of range; `.program` where the program
  ///   updates nothing that asks to be averaged.
  public init(
    averageWindowRate: Double, minAverageWindow: Int = 10_000, maxAverageWindow: Int = 10_000,
    builder: ProgramBuilder = .current, file: StaticString = #fileID, line: UInt = #line
  ) throws {
    let source = SourceLocation(fileID: file, line: line)
    func require(_ holds: Bool, _ what: String, got: String, wanted: String) throws {
      guard holds else {
        throw ABNError(
          .attribute, "ModelAverage: \(what)", at: source, got: got, wanted: wanted)
      }
    }
    try require(
      (0...1).contains(averageWindowRate), "averageWindowRate", got: "\(averageWindowRate)",
      wanted: "a share in 0...1")
    try require(
      minAverageWindow >= 1, "minAverageWindow", got: "\(minAverageWindow)", wanted: "at least 1")
    try require(
      maxAverageWindow >= minAverageWindow, "maxAverageWindow", got: "\(maxAverageWindow)",
      wanted: "at least minAverageWindow, \(minAverageWindow)")

    let averaged = try builder.main.averagedVariables(for: "ModelAverage", at: source)
    let kind = AverageAccumulate(
      rate: averageWindowRate, minimumWindow: minAverageWindow, maximumWindow: maxAverageWindow)
    var apply = Program()
    var restore = Program()
    for variable in averaged {
      func state(_ suffix: String, _ type: TensorType) throws -> Variable {
        try builder.addPersistable(
          named: builder.freeName("\(variable.name)_\(suffix)"), type: type,
          role: .state,
          initializer: FillConstant(0, type: type), layer: variable.name, source: source,
          isNameMadeUp: true)
      }
      let counter = TensorType([1], .int64)
      let sums = try ["sum_1", "sum_2", "sum_3"].map { try state($0, variable.type.accumulation) }
      let counters = try ["num_accumulates", "old_num_accumulates", "num_updates"].map {
        try state($0, counter)
      }
      _ = try builder.append(
        kind, [variable] + sums + counters, role: .optimize, layer: variable.name, source: source)

      func copy(_ variable: Variable, into program: inout Program) throws -> VariableID {
        try program.addPersistable(sharing: variable).id
      }
      func backup(in program: inout Program) throws -> VariableID {
        try program.addVariable(
          named: Self.backupName(variable.name), type: variable.type, role: .state, source: source
        ).id
      }
      let inputs =
        [try copy(variable, into: &apply), try backup(in: &apply)]
        + (try (sums + counters.dropLast()).map { try copy($0, into: &apply) })
      try apply.append(ApplyAverage(), inputs, layer: variable.name, source: source)
      try restore.append(
        RestoreParameter(), [try copy(variable, into: &restore), try backup(in: &restore)],
        layer: variable.name, source: source)
    }
    builder.replaceMain { $0 = $0.withEarlyUpdates() }
    applyProgram = apply
    restoreProgram = restore
    averagedNames = averaged.map(\.name)
  }
}
