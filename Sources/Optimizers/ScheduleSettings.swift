import ABNOperators
import ABNTensors

/// A learning-rate schedule as a value: what a command line or a recipe says of it, for a highest
/// rate that the optimizer's settings have.
package struct ScheduleSettings: Sendable, Equatable, Codable {
  /// The course of the rate after the warm-up.
  package enum Name: String, Sendable, Codable, CaseIterable {
    /// Up and down along half cosines; the warm-up is its rise.
    case oneCycle = "one-cycle"
    /// Down along half a cosine.
    case cosine
    /// Down in a straight line.
    case linear
    /// (1 - step / steps)^power.
    case poly
    /// Lower by a factor after each of some equal parts.
    case step
    /// Lower by the same factor in each step.
    case exponential
    /// The highest rate throughout.
    case constant
  }

  package var name = Name.oneCycle
  /// The updates of the whole training.
  package var totalSteps: Int
  /// The updates in which the rate rises to its highest; nil: 0, and three tenths of `one-cycle`.
  package var warmupSteps: Int?
  /// The last rate as a share of the highest one, of `cosine`, `linear`, `poly` and `exponential`;
  /// nil: 0, and 0.01 of `exponential`.
  package var finalShare: Double?
  /// Of `poly`.
  package var power = 0.9
  /// Of `step`: the updates of each part; nil: a third of all.
  package var stepEvery: Int?
  /// Of `step`: what the rate is multiplied with after each part.
  package var stepFactor = 0.1

  /// One cycle over so many updates.
  package init(_ name: Name = .oneCycle, totalSteps: Int) {
    self.name = name
    self.totalSteps = totalSteps
  }

  /// The schedule with a highest rate.
  ///
  /// A warm-up of w updates rises in a straight line, from 1 / (w + 1) of the rate that it ends
  /// with: no update is for nothing. What follows is not shifted.
  ///
  /// - Throws: `ABNError(.attribute)` for a number out of range.
  package func make(peak: Double) throws -> Schedule {
    func require(_ holds: Bool, _ what: String, _ got: String, _ wanted: String) throws {
      if !holds { throw ABNError(.attribute, what, got: got, wanted: wanted) }
    }
    try require(totalSteps >= 1, "updates of the training", "\(totalSteps)", "at least 1")
    let warmup = warmupSteps ?? 0
    // A course that falls has its last rate, 0 as a rule, in the last update: a warm-up up to there
    // would never leave it.
    let most = name == .oneCycle || name == .constant ? totalSteps : totalSteps - 1
    try require(
      (0...most).contains(warmup), "warm-up", "\(warmup) updates",
      "0...\(most): what follows it is to have updates too")
    let share = finalShare ?? (name == .exponential ? 0.01 : 0)
    try require((0...1).contains(share), "final share", "\(share)", "a number in 0...1")
    let (steps, end) = (totalSteps, peak * share)
    let course: Schedule
    switch name {
    case .oneCycle:
      let rise = warmupSteps.map { min(1, Double($0) / Double(max(1, steps - 1))) } ?? 0.3
      return try Schedule.oneCycle(peak: peak, steps: steps, warmup: rise).validated()
    case .cosine: course = .cosine(peak, steps: steps, end: end)
    case .linear: course = .polynomial(peak, steps: steps, end: end, power: 1)
    case .poly: course = .polynomial(peak, steps: steps, end: end, power: power)
    case .step:
      course = .step(peak, every: stepEvery ?? max(1, (steps + 2) / 3), factor: stepFactor)
    case .exponential: course = .exponential(peak, steps: steps, rate: share)
    case .constant: course = .constant(peak)
    }
    guard warmup > 0 else { return try course.validated() }
    let target = try course.validated().value(step: warmup)
    return try Schedule.warmup(
      steps: warmup, from: target / Double(warmup + 1), to: target, then: course
    ).validated()
  }
}
