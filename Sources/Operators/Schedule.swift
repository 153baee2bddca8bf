#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif
import ABNTensors

/// A learning rate as a function of the step: a value, evaluated by programs and by anyone else.
///
/// Steps count runs of the training program from 0. Every length is in steps, every `initial` is a
/// learning rate. Make one with the static functions; `value(step:)` documents the edges.
public enum Schedule: Sendable, Hashable {
  /// The same value at every step.
  case constant(Double)
  /// values[i] with i the number of boundaries that are at most the step.
  case piecewise(boundaries: [Int], values: [Double])
  /// initial * factor^floor(step / every).
  case step(_ initial: Double, every: Int, factor: Double = 0.1)
  /// initial * factor^(the number of milestones that are at most the step).
  case multiStep(_ initial: Double, milestones: [Int], factor: Double = 0.1)
  /// initial * rate^(step / steps); with `staircase` the quotient is rounded down.
  case exponential(_ initial: Double, steps: Int, rate: Double, staircase: Bool = false)
  /// (initial - end) * (1 - min(step, steps) / steps)^power + end.
  ///
  /// With `cycle`, `steps` is replaced by its smallest multiple that is not below the step (and not
  /// 0), so that the rate starts again, lower each time.
  case polynomial(
    _ initial: Double, steps: Int, end: Double = 1e-4, power: Double = 1, cycle: Bool = false)
  /// end + (initial - end) * (1 + cos(pi * t / steps)) / 2 with
  /// t = min(floor(step / every) * every, steps). Loshchilov and Hutter (2017), without restarts.
  case cosine(_ initial: Double, steps: Int, end: Double = 0, every: Int = 1)
  /// What `warmup(steps:from:to:then:)` makes.
  case warmedUp(Warmup)
  /// Up from peak / startDivisor to peak, then down to peak / startDivisor / endDivisor, both along
  /// half a cosine; the summit at warmup * (steps - 1), the end at steps - 1. Momentum stays as it
  /// is. Smith and Topin (2018).
  case oneCycle(
    peak: Double, steps: Int, warmup: Double = 0.3, startDivisor: Double = 25,
    endDivisor: Double = 1e4)

  /// from + (to - from) * step / steps before `steps`, then `then` at the same step (it is not
  /// shifted). `to` nil: `then` at `steps`, so that nothing jumps. Goyal et al. (2017).
  ///
  /// `validated()` throws where more than `Warmup.mostNested` stand in one another.
  public static func warmup(
    steps: Int, from: Double = 0, to: Double? = nil, then next: Schedule
  ) -> Schedule {
    .warmedUp(Warmup(steps: steps, from: from, to: to, next: next))
  }

  /// A rise, and the schedule after it.
  public final class Warmup: Sendable, Hashable {
    /// The most that may stand in one another: no value is so deep that to walk it, or to let go of
    /// it, exhausts the stack.
    package static let mostNested = 64

    /// The length of the rise.
    package let steps: Int
    /// The rate at step 0.
    package let from: Double
    /// The rate towards which it rises; nil: that of `next` at `steps`.
    package let to: Double?
    /// What follows; nil where more than `mostNested` stood in one another.
    package let next: Schedule?
    fileprivate let depth: Int

    fileprivate init(steps: Int, from: Double, to: Double?, next: Schedule) {
      (self.steps, self.from, self.to) = (steps, from, to)
      var depth = 1
      var isKept = true
      if case .warmedUp(let inner) = next {
        depth += inner.depth
        isKept = inner.next != nil && depth <= Self.mostNested
      }
      self.depth = depth
      self.next = isKept ? next : nil
    }

    public static func == (a: Warmup, b: Warmup) -> Bool {
      a === b
        || a.steps == b.steps && a.from == b.from && a.to == b.to && a.depth == b.depth
          && a.next == b.next
    }

    public func hash(into hasher: inout Hasher) {
      hasher.combine(steps)
      hasher.combine(from)
      hasher.combine(to)
      hasher.combine(next)
    }
  }

  /// The largest rate: what float32 holds, in which programs keep it. Where a formula gives more,
  /// it is this.
  package static let largestRate = Double(Float.greatestFiniteMagnitude)

  /// The learning rate of a step.
  ///
  /// Past its end a schedule keeps its last value; a step below 0 counts as 0. NaN where
  /// `validated()` throws.
  public func value(step: Int) -> Double {
    (try? validated())?.knownValue(step: max(step, 0)) ?? .nan
  }

  /// The value of a schedule that was validated.
  private func knownValue(step: Int) -> Double {
    switch self {
    case .constant(let value): return value
    case .piecewise(let boundaries, let values):
      return values[boundaries.count { $0 <= step }]
    case .step(let initial, let every, let factor):
      return Self.product(initial, pow(factor, Double(step / every)))
    case .multiStep(let initial, let milestones, let factor):
      return Self.product(initial, pow(factor, Double(milestones.count { $0 <= step })))
    case .exponential(let initial, let steps, let rate, let staircase):
      let quotient = Double(step) / Double(steps)
      return Self.product(initial, pow(rate, staircase ? quotient.rounded(.down) : quotient))
    case .polynomial(let initial, let steps, let end, let power, let cycle):
      // Below 2^53, as all steps that are ever run, this is exact.
      let span = Double(cycle ? (max(step, 1) - 1) / steps + 1 : 1) * Double(steps)
      let rest = 1 - min(Double(step), span) / span
      return (initial - end) * pow(rest, power) + end
    case .cosine(let initial, let steps, let end, let every):
      let time = min(step / every * every, steps)
      return Self.halfCosine(from: initial, to: end, Double(time) / Double(steps))
    case .warmedUp(let rise):
      guard let next = rise.next else { return .nan }
      guard step < rise.steps else { return next.knownValue(step: step) }
      let target = rise.to ?? next.knownValue(step: rise.steps)
      return rise.from + (target - rise.from) * Double(step) / Double(rise.steps)
    case .oneCycle(let peak, let steps, let warmup, let startDivisor, let endDivisor):
      let start = peak / startDivisor
      let last = Double(steps - 1)
      let summit = warmup * last
      let time = min(Double(step), last)
      if time < summit { return Self.halfCosine(from: start, to: peak, time / summit) }
      if last == summit { return peak }
      return Self.halfCosine(
        from: peak, to: start / endDivisor, (time - summit) / (last - summit))
    }
  }

  /// A rate that may have grown beyond all numbers.
  private static func product(_ rate: Double, _ factor: Double) -> Double {
    rate == 0 ? 0 : min(rate * factor, largestRate)
  }

  /// `from` at 0, `to` at 1, flat at both.
  private static func halfCosine(from: Double, to: Double, _ fraction: Double) -> Double {
    to + (from - to) * (1 + cos(.pi * fraction)) / 2
  }

  /// The schedule itself, after a check of its numbers.
  ///
  /// - Throws: `ABNError(.attribute)` for a rate that is negative, not finite or beyond float32, a
  ///   length below 1, boundaries that do not ascend, counts that do not fit, or too many in one
  ///   another.
  package func validated() throws -> Schedule {
    switch self {
    case .constant(let value): try Self.requireRate(value, "value")
    case .piecewise(let boundaries, let values):
      guard values.count == boundaries.count + 1 else {
        throw Self.error(
          "piecewise", got: "\(values.count) values for \(boundaries.count) boundaries",
          wanted: "one value more than boundaries")
      }
      try Self.requireAscending(boundaries, "boundaries")
      for value in values { try Self.requireRate(value, "values") }
    case .step(let initial, let every, let factor):
      try Self.requireRate(initial, "initial")
      try Self.requireRate(factor, "factor")
      try Self.requireLength(every, "every")
    case .multiStep(let initial, let milestones, let factor):
      try Self.requireRate(initial, "initial")
      try Self.requireRate(factor, "factor")
      try Self.requireAscending(milestones, "milestones")
    case .exponential(let initial, let steps, let rate, _):
      try Self.requireRate(initial, "initial")
      try Self.requireRate(rate, "rate")
      try Self.requireLength(steps, "steps")
    case .polynomial(let initial, let steps, let end, let power, _):
      try Self.requireRate(initial, "initial")
      try Self.requireRate(end, "end")
      try Self.requireRate(power, "power")
      try Self.requireLength(steps, "steps")
    case .cosine(let initial, let steps, let end, let every):
      try Self.requireRate(initial, "initial")
      try Self.requireRate(end, "end")
      try Self.requireLength(steps, "steps")
      try Self.requireLength(every, "every")
    case .warmedUp(let rise):
      guard let next = rise.next else {
        throw Self.error(
          "warmup", got: "more than \(Warmup.mostNested) of them in one another",
          wanted: "at most \(Warmup.mostNested)")
      }
      try Self.requireRate(rise.from, "from")
      if let to = rise.to { try Self.requireRate(to, "to") }
      try Self.requireLength(rise.steps, "steps")
      _ = try next.validated()
    case .oneCycle(let peak, let steps, let warmup, let startDivisor, let endDivisor):
      try Self.requireRate(peak, "peak")
      try Self.requireLength(steps, "steps")
      guard (0...1).contains(warmup) else {
        throw Self.error("warmup", got: "\(warmup)", wanted: "a share in 0...1")
      }
      for divisor in [startDivisor, endDivisor] where !(divisor > 0 && divisor.isFinite) {
        throw Self.error("divisor", got: "\(divisor)", wanted: "a finite number above 0")
      }
      try Self.requireRate(peak / startDivisor, "start")
      try Self.requireRate(peak / startDivisor / endDivisor, "end")
    }
    return self
  }

  private static func error(_ what: String, got: String, wanted: String) -> ABNError {
    ABNError(.attribute, "\(what) of the learning-rate schedule", got: got, wanted: wanted)
  }

  private static func requireRate(_ value: Double, _ what: String) throws {
    guard value >= 0, value <= largestRate else {
      throw error(what, got: "\(value)", wanted: "a finite number of at least 0 that float32 holds")
    }
  }

  private static func requireLength(_ steps: Int, _ what: String) throws {
    guard steps >= 1 else {
      throw error(what, got: "\(steps)", wanted: "at least 1 step")
    }
  }

  private static func requireAscending(_ steps: [Int], _ what: String) throws {
    guard zip(steps, steps.dropFirst()).allSatisfy(<), steps.allSatisfy({ $0 >= 0 }) else {
      throw error(what, got: "\(steps)", wanted: "steps from 0 on, each larger than the one before")
    }
  }
}

extension Schedule: CustomStringConvertible {
  /// What programs print: `cosine(0.1, steps: 1000, end: 0.0, every: 1)`.
  public var description: String {
    switch self {
    case .constant(let value): "constant(\(value))"
    case .piecewise(let boundaries, let values):
      "piecewise(boundaries: \(boundaries), values: \(values))"
    case .step(let initial, let every, let factor):
      "step(\(initial), every: \(every), factor: \(factor))"
    case .multiStep(let initial, let milestones, let factor):
      "multiStep(\(initial), milestones: \(milestones), factor: \(factor))"
    case .exponential(let initial, let steps, let rate, let staircase):
      "exponential(\(initial), steps: \(steps), rate: \(rate), staircase: \(staircase))"
    case .polynomial(let initial, let steps, let end, let power, let cycle):
      "polynomial(\(initial), steps: \(steps), end: \(end), power: \(power), cycle: \(cycle))"
    case .cosine(let initial, let steps, let end, let every):
      "cosine(\(initial), steps: \(steps), end: \(end), every: \(every))"
    case .warmedUp(let rise):
      "warmup(steps: \(rise.steps), from: \(rise.from), to: \(rise.to.map { "\($0)" } ?? "next"), "
        + "then: \(rise.next?.description ?? "too many"))"
    case .oneCycle(let peak, let steps, let warmup, let startDivisor, let endDivisor):
      "oneCycle(peak: \(peak), steps: \(steps), warmup: \(warmup), "
        + "startDivisor: \(startDivisor), endDivisor: \(endDivisor))"
    }
  }
}
