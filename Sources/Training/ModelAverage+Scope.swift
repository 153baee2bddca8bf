import ABNGraph
import ABNOptimizers
import ABNRuntime
import ABNTensors

extension ModelAverage {
  /// Runs `body` with the means in place of the parameters of `scope`, and puts the parameters back
  /// afterwards, bit by bit, also where `body` throws.
  ///
  /// - Throws: what `body` throws; `ABNError(.program)` where the means are in place already.
  public func apply<R>(
    _ executor: Executor, scope: Scope, _ body: () throws -> R
  ) throws -> R {
    try exchange.apply(executor, scope: scope, body)
  }

  /// Puts the means in place of the parameters until `restore`.
  ///
  /// - Throws: `ABNError(.program)` where they are in place already.
  public func apply(_ executor: Executor, scope: Scope) throws {
    try exchange.apply(executor, scope: scope)
  }

  /// Puts the parameters back that `apply` kept, and drops what it kept.
  ///
  /// - Throws: `ABNError(.program)` where `apply` was not called before.
  public func restore(_ executor: Executor, scope: Scope) throws {
    try exchange.restore(executor, scope: scope)
  }

  private var exchange: WeightExchange {
    WeightExchange(
      name: "ModelAverage", apply: applyProgram, restore: restoreProgram, backups: backupNames)
  }
}

extension ExponentialAverage {
  /// Runs `body` with the averages in place of the parameters of `scope`, and puts the parameters
  /// back afterwards, bit by bit, also where `body` throws.
  ///
  /// - Throws: what `body` throws; `ABNError(.program)` where the averages are in place already.
  package func apply<R>(
    _ executor: Executor, scope: Scope, _ body: () throws -> R
  ) throws -> R {
    try exchange.apply(executor, scope: scope, body)
  }

  /// Puts the averages in place of the parameters until `restore`.
  ///
  /// - Throws: `ABNError(.program)` where they are in place already.
  package func apply(_ executor: Executor, scope: Scope) throws {
    try exchange.apply(executor, scope: scope)
  }

  /// Puts the parameters back that `apply` kept, and drops what it kept.
  ///
  /// - Throws: `ABNError(.program)` where `apply` was not called before.
  package func restore(_ executor: Executor, scope: Scope) throws {
    try exchange.restore(executor, scope: scope)
  }

  private var exchange: WeightExchange {
    WeightExchange(
      name: "ExponentialAverage", apply: applyProgram, restore: restoreProgram,
      backups: backupNames)
  }
}

/// Averages in place of parameters, for a while.
private struct WeightExchange {
  /// Of the type that the user called, for errors.
  let name: String
  let apply, restore: Program
  /// Where the scope keeps the parameters meanwhile.
  let backups: [String]

  func apply<R>(_ executor: Executor, scope: Scope, _ body: () throws -> R) throws -> R {
    try apply(executor, scope: scope)
    let outcome = Result { try body() }
    try restore(executor, scope: scope)
    return try outcome.get()
  }

  func apply(_ executor: Executor, scope: Scope) throws {
    guard Set(scope.names).isDisjoint(with: backups) else {
      throw ABNError(
        .program, "\(name).apply", got: "a scope that holds the means already",
        wanted: "a scope with the parameters", fix: "Call restore first.")
    }
    try executor.run(apply, scope: scope)
  }

  func restore(_ executor: Executor, scope: Scope) throws {
    guard Set(scope.names).isSuperset(of: backups) else {
      throw ABNError(
        .program, "\(name).restore", got: "a scope without kept parameters",
        wanted: "a scope after apply", fix: "Call apply first.")
    }
    try executor.run(restore, scope: scope)
    for name in backups { scope[name] = nil }
  }
}
