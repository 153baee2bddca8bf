import ABNGraph
import ABNOperators
import ABNRuntime
import ABNTensors

/// What became of a case.
package enum CheckVerdict: String, Sendable, Encodable {
  case pass, fail
  /// The backend says that it does not run this.
  case refused
}

/// The outcome of one case.
package struct CheckRow: Sendable, Encodable {
  package let group: String
  package let name: String
  package let type: String
  package let layout: String?
  /// The largest of the errors, relative as the case's bound says; nil where it is no number, and
  /// where nothing was compared.
  package let error: Double?
  package let bound: Double
  package let verdict: CheckVerdict
  /// What differed or was refused.
  package let reason: String?
}

/// Runs cases on a backend and on the reference.
package struct CheckRunner {
  private let backend: any Backend
  private let reference: any Backend
  private let unitOfProducts: Double?

  /// - Parameters:
  ///   - reference: runs float64 programs.
  ///   - unitOfProducts: half an ulp of 1 of what convolutions and products of float32 round their
  ///     inputs to, where it is not float32.
  package init(
    _ backend: any Backend, reference: any Backend, unitOfProducts: Double? = nil
  ) {
    self.backend = backend
    self.reference = reference
    self.unitOfProducts = unitOfProducts
  }

  /// Whether a case says anything on this backend.
  package func applies(_ test: CheckCase) -> Bool {
    unitOfProducts == nil || !test.needsExactProducts
  }

  /// Runs a case.
  package func run(_ test: CheckCase) -> CheckRow {
    func row(
      _ verdict: CheckVerdict, _ bound: Double, error: Double? = nil, _ reason: String? = nil
    ) -> CheckRow {
      CheckRow(
        group: test.group.rawValue, name: test.name, type: test.dtype.shortName,
        layout: test.layout?.rawValue, error: error.flatMap { $0.isFinite ? $0 : nil },
        bound: bound, verdict: verdict, reason: reason)
    }
    do {
      let own = try test.build(CheckTypes(data: test.dtype, stored: nil))
      let (bound, stateBound) = bounds(test, own.main)
      let runs = try ownRuns(own, test)
      if let difference = runs.difference { return row(.fail, bound.value, difference) }
      let exact = try test.build(
        CheckTypes(data: .float64, stored: test.dtype.isNarrow ? test.dtype : nil))
      let wanted = try steps(
        exact, on: Executor(backend: reference), from: runs.start, feed: own.feed, test.steps)
      var worst = CheckDifference()
      for step in 0..<test.steps {
        for (index, result) in own.results.enumerated() {
          worst.take(
            runs.results[step][index], wanted.results[step][index], bound, axis: result.axis,
            "\(result.label), step \(step + 1)")
        }
      }
      for name in own.states {
        guard let a = runs.states[name], let b = wanted.states[name] else {
          return row(.fail, bound.value, "\(name) has no value after the last step")
        }
        worst.take(a, b, stateBound, axis: nil, "\(name) after the last step")
      }
      return row(
        worst.isWithin ? .pass : .fail, worst.bound ?? bound.value, error: worst.error,
        worst.isWithin ? nil : worst.text)
    } catch let error as ABNError where error.category == .unsupported {
      return row(.refused, test.bound.value, "\(error)")
    } catch {
      return row(.fail, test.bound.value, "\(error)")
    }
  }

  /// The case's bounds, or those of less exact products.
  private func bounds(_ test: CheckCase, _ program: Program) -> (CheckBound, CheckBound) {
    let hasProducts = program.operators.contains {
      $0.kind is Conv2D || $0.kind is Mul
    }
    guard let unitOfProducts, test.dtype == .float32, hasProducts else {
      return (test.bound, test.stateBound)
    }
    func widened(_ bound: CheckBound) -> CheckBound {
      var bound = bound
      bound.value = Swift.max(bound.value, bound.unitsOfProducts * unitOfProducts)
      return bound
    }
    return (widened(test.bound), widened(test.stateBound))
  }

  private struct Run {
    var results: [[Tensor]] = []
    var states: [String: Tensor] = [:]
  }

  private struct OwnRuns {
    var results: [[Tensor]] = []
    var states: [String: Tensor] = [:]
    var start: [String: Tensor] = [:]
    /// How the second time differed from the first.
    var difference: String?
  }

  /// The case's steps on the backend, twice from the same start.
  private func ownRuns(_ program: CheckProgram, _ test: CheckCase) throws -> OwnRuns {
    let executor = Executor(backend: backend)
    let scope = Scope()
    try executor.run(program.startup, scope: scope)
    for (name, value) in program.values {
      guard let type = program.main.variable(named: name)?.dtype else { continue }
      scope[name] = value.cast(to: type)
    }
    var runs = OwnRuns(start: scope.snapshot())
    let first = try steps(
      program, on: executor, from: runs.start, feed: program.feed, test.steps)
    let second = try steps(
      program, on: executor, from: runs.start, feed: program.feed, test.steps)
    (runs.results, runs.states) = (first.results, first.states)
    for step in 0..<test.steps {
      for (index, result) in program.results.enumerated()
      where !first.results[step][index].hasBits(of: second.results[step][index]) {
        runs.difference = "\(result.label), step \(step + 1): other bits when run again"
        return runs
      }
    }
    for (name, value) in first.states where !value.hasBits(of: second.states[name]!) {
      runs.difference = "\(name): other bits when run again"
    }
    return runs
  }

  /// Some steps from given values, which are converted to the program's types.
  private func steps(
    _ program: CheckProgram, on executor: Executor, from start: [String: Tensor],
    feed: [String: Tensor], _ count: Int
  ) throws -> Run {
    let scope = Scope()
    for variable in program.main.persistables {
      scope[variable.name] = start[variable.name]?.cast(to: variable.dtype)
    }
    var run = Run()
    let own = feed.reduce(into: [String: Tensor]()) { result, entry in
      guard let type = program.main.variable(named: entry.key)?.dtype else { return }
      result[entry.key] = entry.value.cast(to: type)
    }
    for _ in 0..<count {
      run.results.append(
        try executor.run(
          program.main, feed: own, fetch: program.results.map(\.variable), scope: scope))
    }
    for name in program.states { run.states[name] = try scope[name]?.checked() }
    return run
  }
}

extension Tensor {
  /// Whether all bits are equal, those of NaN too.
  func hasBits(of other: Tensor) -> Bool {
    dtype == other.dtype && shape == other.shape
      && withUnsafeBytes { a in other.withUnsafeBytes { b in a.elementsEqual(b) } }
  }
}

extension DType {
  /// `f32`, `bf16`: as on the command line.
  package var shortName: String {
    switch self {
    case .float32: "f32"
    case .float64: "f64"
    case .float16: "f16"
    case .bfloat16: "bf16"
    default: rawValue
    }
  }
}
