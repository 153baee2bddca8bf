// Shapes: parameter, gradient and moments alike; rate [1] float32 or float64; powers and scale [1]
// float64.

import ABNGraph
import ABNTensors

/// LAMB: Adam's step with decay, scaled for each parameter by the ratio of its norm to the step's.
///
/// m = beta1 * m + (1 - beta1) * g'; v = beta2 * v + (1 - beta2) * g'^2; u = (m / (1 - power1)) /
/// (sqrt(v / (1 - power2)) + epsilon) + decay * parameter; parameter = parameter - rate * ratio *
/// u, ratio = |parameter| / |u|, 1 where one of the norms is 0 or `isAdapted` is false; then power1
/// *= beta1, power2 *= beta2.
///
/// Bounds of g' and epsilon, and the state: as `AdamUpdate`. Beside the state a step needs u: as
/// many elements as the parameter has.
///
/// Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes"
/// (ICLR 2020), algorithm 2, with phi(z) = z.
package struct LambUpdate: ParameterUpdate {
  package static let kindName = "lamb"
  package static let formula =
    "m = b1 * m + (1 - b1) * g'; v = b2 * v + (1 - b2) * g'^2; "
    + "u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon) + decay * p; "
    + "p = p - rate * |p| / |u| * u"

  package let treatment: GradientTreatment
  package let multiplier: Double
  /// The share of the first moment that stays.
  package let beta1: Double
  /// The share of the second moment that stays.
  package let beta2: Double
  /// Keeps the quotient finite.
  package let epsilon: Double
  /// The share of the parameter that is added to the step.
  package let decay: Double
  /// Whether the step is scaled by the ratio of the norms.
  package let isAdapted: Bool
  package var stateTypes: [UpdateState] { [.likeParameter, .likeParameter, .power, .power] }

  /// A step as long as the parameter's norm says.
  package init(
    beta1: Double, beta2: Double, epsilon: Double, decay: Double = 0, isAdapted: Bool = true,
    _ treatment: GradientTreatment = GradientTreatment(), multiplier: Double = 1
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.decay = decay
    self.isAdapted = isAdapted
    self.treatment = treatment
    self.multiplier = multiplier
  }

  package var attributes: [(name: String, value: String)] {
    [("beta1", "\(beta1)"), ("beta2", "\(beta2)"), ("epsilon", "\(epsilon)")]
      + (decay == 0 ? [] : [("decay", "\(decay)")])
      + (isAdapted ? [] : [("ratio", "1")]) + commonAttributes
  }

  /// The ratio for the squares of the two norms. NaN and infinity show: NaN.
  package func ratio(squaredParameter: Double, squaredStep: Double) -> Double {
    guard isAdapted, squaredParameter != 0, squaredStep != 0 else { return 1 }
    return squaredParameter.squareRoot() / squaredStep.squareRoot()
  }
}
