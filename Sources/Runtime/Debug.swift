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
/// | | 3 | per compiled program: every wish to share bytes, granted or refused, with the reason |
/// | | 4 | per compiled program: the program as it is lowered |
///
/// A level includes those below it. All output goes to standard error.
public enum Debug {
  /// The level of `ABN_VERBOSE`.
  ///
  /// - Throws: `ABNError(.attribute)` for a value that is not in the table.
  public static func verbosity() throws -> Int { try level.get() }

  private static let level: Result<Int, ABNError> = parse(
    getenv("ABN_VERBOSE").map { String(cString: $0) })

  /// The level that a value of `ABN_VERBOSE` means.
  static func parse(_ value: String?) -> Result<Int, ABNError> {
    guard let value, !value.isEmpty else { return .success(0) }
    guard let level = Int(value), (0...4).contains(level) else {
      return .failure(
        ABNError(
          .attribute, "environment variable ABN_VERBOSE", got: "\"\(value)\"",
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
        "abn: \(decision.action.rawValue) \(decision.variable), \(decision.bytes) bytes: "
          + decision.reason)
    }
    for decision in plan.decisions {
      let output = lowered.buffers[decision.sharing.output.index].name
      let input = lowered.buffers[decision.sharing.input.index].name
      let kind = decision.sharing.kind == .view ? "as a view of" : "over"
      let outcome = decision.refusal.map { "refused: \($0)" } ?? "granted"
      Debug.tell(
        "abn: \(lowered.steps[decision.step].name): \(output) \(kind) \(input): \(outcome)")
    }
  }
}

/// Time by kind of step over one run: level 2.
struct StepTimes {
  private var seconds: [String: (total: Double, count: Int)] = [:]

  static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  mutating func add(_ name: String, _ time: Double) {
    seconds[name, default: (0, 0)].total += time
    seconds[name]!.count += 1
  }

  func write() {
    let all = seconds.values.reduce(0) { $0 + $1.total }
    for (name, entry) in seconds.sorted(by: { $0.value.total > $1.value.total }) {
      let microseconds = Int(entry.total * 1e6)
      Debug.tell(
        "abn: \(microseconds) us, \(Int(entry.total / all * 100)) %, \(entry.count) x \(name)")
    }
  }
}
