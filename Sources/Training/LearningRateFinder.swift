import ABNOperators
import ABNTensors

/// Looks for a learning rate: the rate grows by the same factor in each step, and the loss tells
/// where training goes fastest and where it breaks.
///
/// The loss is smoothed: s = (m / (1 - b^t)) with m = b * m + (1 - b) * loss. The search ends where
/// s is above `divergence` times its least value so far, or the loss is no number any more. What is
/// suggested is the rate at which the loss falls most steeply over the logarithm of the rate.
///
/// Sources: Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), section 3.3;
/// the smoothing as fastai has it.
package struct LearningRateFinder: Sendable, Equatable {
  /// One step.
  package struct Point: Sendable, Equatable, Codable {
    package let rate: Double
    /// As the step had it.
    package let loss: Double
    /// The mean over the last steps.
    package let smoothed: Double
  }

  package let lowest: Double
  package let highest: Double
  /// The steps of the whole search.
  package let steps: Int
  /// The share of the mean that stays from step to step.
  package let smoothing: Double
  /// How many times the least loss the loss may be.
  package let divergence: Double
  /// The steps so far whose loss is a number.
  package private(set) var points: [Point] = []
  /// Whether the loss has grown beyond `divergence`, or is no number.
  package private(set) var hasDiverged = false
  private var mean = 0.0
  private var weight = 1.0
  private var least = Double.infinity

  /// A search over `steps` rates from the lowest to the highest.
  ///
  /// - Throws: `ABNError(.attribute)` for numbers out of range.
  package init(
    from lowest: Double = 1e-6, to highest: Double = 10, steps: Int = 100, smoothing: Double = 0.9,
    divergence: Double = 4
  ) throws {
    func require(_ holds: Bool, _ what: String, _ got: String, _ wanted: String) throws {
      if !holds {
        throw ABNError(.attribute, "learning-rate finder: \(what)", got: got, wanted: wanted)
      }
    }
    try require(lowest > 0, "lowest rate", "\(lowest)", "a number above 0")
    try require(
      highest > lowest && highest <= Schedule.largestRate, "highest rate", "\(highest)",
      "a number above the lowest, \(lowest), that float32 holds")
    try require(steps >= 10, "steps", "\(steps)", "at least 10")
    try require((0..<1).contains(smoothing), "smoothing", "\(smoothing)", "a number in 0 ..< 1")
    try require(
      divergence > 1 && divergence.isFinite, "divergence", "\(divergence)", "a number above 1")
    (self.lowest, self.highest, self.steps) = (lowest, highest, steps)
    (self.smoothing, self.divergence) = (smoothing, divergence)
  }

  /// The rates, for an optimizer: step i has lowest * (highest / lowest)^(i / (steps - 1)).
  package var schedule: Schedule {
    .exponential(lowest, steps: steps - 1, rate: highest / lowest)
  }

  /// Whether there is a step to take.
  package var wantsMore: Bool { !hasDiverged && points.count < steps }

  /// Takes the loss of the next step.
  ///
  /// - Returns: `wantsMore`.
  @discardableResult
  package mutating func add(loss: Double) -> Bool {
    guard wantsMore else { return false }
    guard loss.isFinite else {
      hasDiverged = true
      return false
    }
    mean = smoothing * mean + (1 - smoothing) * loss
    weight *= smoothing
    let smoothed = mean / (1 - weight)
    points.append(
      Point(rate: schedule.value(step: points.count), loss: loss, smoothed: smoothed))
    least = min(least, smoothed)
    // Of a loss that has gone below 0 no multiple says anything.
    if least > 0, smoothed > divergence * least { hasDiverged = true }
    return wantsMore
  }

  /// Where the loss falls most steeply; nil where it does not fall by more than its noise, or there
  /// are too few points to tell.
  ///
  /// The slope at a point is that of the line of least squares through the losses of the steps
  /// around it, over the logarithm of the rate; it counts where it is more than four times its
  /// standard error. What comes after the least smoothed loss does not count.
  package var steepest: Point? {
    guard points.count >= 10,
      let bottom = points.indices.min(by: { points[$0].smoothed < points[$1].smoothed })
    else { return nil }
    let reach = max(2, points.count / 12)
    var best: (index: Int, slope: Double)?
    for index in 0..<bottom where index >= reach {
      let window = points[(index - reach)...min(bottom, index + reach)].map(\.loss)
      guard let line = Self.line(through: window),
        line.slope < -4 * line.error, line.slope < best?.slope ?? 0
      else { continue }
      best = (index, line.slope)
    }
    return best.map { points[$0.index] }
  }

  /// The line of least squares through equally spaced values: its slope, and the standard error of
  /// that; nil of fewer than three.
  private static func line(through values: [Double]) -> (slope: Double, error: Double)? {
    guard values.count > 2 else { return nil }
    let middle = Double(values.count - 1) / 2
    let mean = values.reduce(0, +) / Double(values.count)
    var (squares, products) = (0.0, 0.0)
    for (index, value) in values.enumerated() {
      let x = Double(index) - middle
      squares += x * x
      products += x * (value - mean)
    }
    let slope = products / squares
    let rest = values.enumerated().reduce(0.0) {
      let residual = $1.element - mean - slope * (Double($1.offset) - middle)
      return $0 + residual * residual
    }
    return (slope, (rest / Double(values.count - 2) / squares).squareRoot())
  }

  /// The rate to begin with; nil where nothing can be said.
  package var suggestion: Double? { steepest?.rate }
}
