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
    try apply(executor, scope: scope)
    let outcome = Result { try body() }
    try restore(executor, scope: scope)
    return try outcome.get()
  }

  /// Puts the means in place of the parameters until `restore`.
  ///
  /// - Throws: `ABNError(.program)` where they are in place already.
  public func apply(_ executor: Executor, scope: Scope) throws {
    guard Set(scope.names).isDisjoint(with: backupNames) else {
      throw ABNError(
        .program, "ModelAverage.apply", got: "a scope that holds the means already",
        wanted: "a scope with the parameters", fix: "Call restore first.")
    }
    try executor.run(applyProgram, scope: scope)
  }

  /// Puts the parameters back that `apply` kept, and drops what it kept.
  ///
  /// - Throws: `ABNError(.program)` where `apply` was not called before.
  public func restore(_ executor: Executor, scope: Scope) throws {
    guard Set(scope.names).isSuperset(of: backupNames) else {
      throw ABNError(
        .program, "ModelAverage.restore", got: "a scope without kept parameters",
        wanted: "a scope after apply", fix: "Call apply first.")
    }
    try executor.run(restoreProgram, scope: scope)
    for name in backupNames { scope[name] = nil }
  }
}
