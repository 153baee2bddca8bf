import ABNTensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// All debug variables of the environment. `Documentation/Debugging.md` has the same table.
///
/// | variable | values | what it does |
/// |---|---|---|
/// | `ABN_VERBOSE` | 0 | nothing (the default) |
/// | | 1 | per compiled program: backend, steps, arena, lower bound, planned peak |
/// | | 2 | per run: time by kind of step |
/// | | 3 | per compiled program: every in-place hint, granted or refused, with the reason |
/// | | 3 | per compiled program: steps that go around a fault of oneDNN, with the reason |
/// | | 4 | per compiled program: the program as it is, and after each pass |
/// | `ABN_CHECK` | 1 | every run: freed bytes become NaN, bytes between buffers are watched |
/// | `ABN_TURNS` | 0 | runs that want most processors do not take turns with those of other threads and processes |
///
/// A level of `ABN_VERBOSE` includes those below it. All output goes to standard error.
package enum Debug {
  /// The level of `ABN_VERBOSE`.
  ///
  /// - Throws: `ABNError(.attribute)` for a value that is not in the table.
  package static func verbosity() throws -> Int { try level.get() }

  /// Whether `ABN_CHECK` asks for the checking mode.
  ///
  /// - Throws: `ABNError(.attribute)` for a value other than 0 and 1.
  package static func isChecking() throws -> Bool { try checking.get() }

  /// Whether runs take turns; `ABN_TURNS` 0 says that they do not.
  ///
  /// - Throws: `ABNError(.attribute)` for a value other than 0 and 1.
  static func takesTurns() throws -> Bool { try turns.get() }

  private static let checking = parseSwitch("ABN_CHECK", getenv("ABN_CHECK"), default: false)
  private static let turns = parseSwitch("ABN_TURNS", getenv("ABN_TURNS"), default: true)

  private static func parseSwitch(
    _ name: String, _ value: UnsafePointer<CChar>?, default usual: Bool
  ) -> Result<Bool, ABNError> {
    parseSwitch(name, value.map { String(cString: $0) }, default: usual)
  }

  /// What a value of a variable that is 0 or 1 means.
  static func parseSwitch(
    _ name: String, _ value: String?, default usual: Bool
  ) -> Result<Bool, ABNError> {
    switch value {
    case nil, "": .success(usual)
    case "0": .success(false)
    case "1": .success(true)
    default:
      .failure(
        ABNError(
          .attribute, "environment variable \(name)", got: quoted(value!), wanted: "0 or 1",
          fix: "See Documentation/Debugging.md."))
    }
  }

  private static let level: Result<Int, ABNError> = parse(
    getenv("ABN_VERBOSE").map { String(cString: $0) })

  /// The level that a value of `ABN_VERBOSE` means.
  static func parse(_ value: String?) -> Result<Int, ABNError> {
    guard let value, !value.isEmpty else { return .success(0) }
    guard let level = Int(value), (0...4).contains(level) else {
      return .failure(
        ABNError(
          .attribute, "environment variable ABN_VERBOSE", got: quoted(value),
          wanted: "0, 1, 2, 3 or 4", fix: "See Documentation/Debugging.md."))
    }
    return .success(level)
  }

  static func tell(_ text: String) {
    var line = text + "\n"
    line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
  }
}

extension Executable {
  /// What levels 1 and 3 tell.
  func describe(verbosity: Int, backend: String) {
    guard verbosity >= 1 else { return }
    Debug.tell(
      "abn: \(backend), \(lowered.steps.count) steps, arena \(plan.arenaBytes) bytes "
        + "(\(plan.strategy)), lower bound \(plan.lowerBoundBytes), "
        + "planned peak \(plannedPeakBytes)")
    guard verbosity >= 3 else { return }
    for decision in decisions {
      Debug.tell(
        "abn: \(decision.action.rawValue) \(decision.variable) (\(decision.source)), "
          + "\(decision.bytes) bytes: \(decision.reason)")
    }
    for step in lowered.steps {
      if let note = step.note { Debug.tell("abn: \(step.name) \(step.layer): \(note)") }
    }
    for decision in plan.decisions {
      let output = lowered.buffers[decision.sharing.output.index].name
      let input = lowered.buffers[decision.sharing.input.index].name
      let kind = decision.sharing.kind == .view ? "as a view of" : "over"
      let outcome = decision.refusal.map { "refused: \($0)" } ?? "granted"
      let step = lowered.steps[decision.step]
      let place = step.source.map { " (\($0))" } ?? ""
      Debug.tell("abn: \(step.name)\(place): \(output) \(kind) \(input): \(outcome)")
    }
  }
}
