import Foundation

/// How much more a property test does than in continuous integration: 1 there, and what `ABN_SOAK` says in
/// `scripts/soak`. A property test multiplies its number of cases by it and draws them from `soakSeed` on,
/// so that a failure is repeated by the seed that it prints.
public let soakFactor: Int = {
  guard let text = ProcessInfo.processInfo.environment["ABN_SOAK"] else { return 1 }
  guard let factor = Int(text), factor > 0 else {
    fatalError("ABN_SOAK is '\(text)'; wanted a whole number above 0")
  }
  return factor
}()

/// The first seed of a property test's cases: 1, or `ABN_SOAK_SEED`.
public let soakSeed: UInt64 = {
  guard let text = ProcessInfo.processInfo.environment["ABN_SOAK_SEED"] else { return 1 }
  guard let seed = UInt64(text) else {
    fatalError("ABN_SOAK_SEED is '\(text)'; wanted a whole number of 0 or more")
  }
  return seed
}()
