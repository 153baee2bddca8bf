// Shapes: parameter, gradient, velocity and moments alike; rate [1] float32 or float64; powers and
// scale [1] float64. Each kind ends in an optional input `scale` (see `GradientTreatment`).

import ABNGraph
import ABNTensors

/// What an update makes of its gradient first, in the same pass over memory.
///
/// g' = scale * min(max(g, minimum), maximum) + l2 * p + l1 * sign(p), with sign(0) = 0. NaN stays.
public struct GradientTreatment: Sendable, Hashable {
  /// The smallest element let through.
  public var minimum = -Double.infinity
  /// The largest element let through.
  public var maximum = Double.infinity
  /// Whether the update's last input is a factor for the gradient, [1] float64.
  public var isScaled = false
  /// The penalty whose gradient is added; nil: none.
  public var regularizer: Regularizer?

  /// The gradient as it is.
  public init() {}

  /// What `l1` stands for in the formula.
  package var l1: Double { if case .l1(let coefficient) = regularizer { coefficient } else { 0 } }
  /// What `l2` stands for in the formula.
  package var l2: Double { if case .l2(let coefficient) = regularizer { coefficient } else { 0 } }

  var attributes: [(name: String, value: String)] {
    var list: [(name: String, value: String)] = []
    if minimum > -.infinity || maximum < .infinity {
      list.append(("clip", "\(minimum)...\(maximum)"))
    }
    if l1 != 0 { list.append(("l1", "\(l1)")) }
    if l2 != 0 { list.append(("l2", "\(l2)")) }
    return list
  }
}

/// A kind that updates one parameter, in place, from its gradient and a learning rate.
///
/// Inputs: parameter, gradient, rate, then the kind's state, then the gradient's scale where
/// `treatment.isScaled`. The rate is multiplied with `multiplier`.
public protocol ParameterUpdate: OperatorKind {
  /// What the gradient goes through first.
  var treatment: GradientTreatment { get }
  /// Multiplies the learning rate.
  var multiplier: Double { get }
  /// What the kind keeps from run to run, in the order of its inputs.
  var stateTypes: [UpdateState] { get }
}

/// The type of one input that an update keeps from run to run.
public enum UpdateState: Sendable, Hashable {
  /// The shape and element type of the parameter.
  case likeParameter
  /// [1] float64.
  case power
}

extension ParameterUpdate {
  /// The position of the gradient's scale among the inputs.
  package var scaleIndex: Int { 3 + stateTypes.count }

  /// The parameter, then each state.
  public var sharing: [SharingRule] {
    [SharingRule(output: 0, input: 0, .must)]
      + stateTypes.indices.map { SharingRule(output: 1 + $0, input: 3 + $0, .must) }
  }

  public var inputCounts: ClosedRange<Int> {
    let count = scaleIndex + (treatment.isScaled ? 1 : 0)
    return count...count
  }

  public func inferTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    try requireFloatingPoint(inputs[0], "parameter")
    guard inputs[1] == inputs[0] else {
      throw ABNError(
        .shape, "gradient", got: "\(inputs[1])", wanted: "\(inputs[0]), as the parameter")
    }
    try requireLearningRate(inputs[2])
    let scalar = TensorType([1], .float64)
    for (position, state) in stateTypes.enumerated() {
      let type = state == .power ? scalar : inputs[0].accumulation
      guard inputs[3 + position] == type else {
        throw ABNError(
          .shape, "state \(position)", got: "\(inputs[3 + position])", wanted: "\(type)")
      }
    }
    if treatment.isScaled, inputs[scaleIndex] != scalar {
      throw ABNError(.shape, "scale", got: "\(inputs[scaleIndex])", wanted: "\(scalar)")
    }
    return [inputs[0]] + Array(inputs[3..<scaleIndex])
  }

  var commonAttributes: [(name: String, value: String)] {
    treatment.attributes + (multiplier == 1 ? [] : [("rate multiplier", "\(multiplier)")])
  }
}

/// Throws unless a learning rate of this type can be read by an update.
package func requireLearningRate(_ type: TensorType) throws {
  guard type.shape == [1], type.dtype == .float32 || type.dtype == .float64 else {
    throw ABNError(
      .shape, "learning rate", got: "\(type)", wanted: "float32[1] or float64[1]")
  }
}

/// parameter -= rate * g'.
package struct SGDUpdate: ParameterUpdate {
  package static let kindName = "sgd"
  package static let formula = "p = p - rate * g'"

  package let treatment: GradientTreatment
  package let multiplier: Double
  package var stateTypes: [UpdateState] { [] }

  /// A plain step against the gradient.
  package init(_ treatment: GradientTreatment = GradientTreatment(), multiplier: Double = 1) {
    self.treatment = treatment
    self.multiplier = multiplier
  }

  package var attributes: [(name: String, value: String)] { commonAttributes }
}

/// velocity = momentum * velocity + g'; parameter -= rate * velocity, with Nesterov's variant
/// parameter -= rate * (g' + momentum * velocity).
///
/// State: velocity.
package struct MomentumUpdate: ParameterUpdate {
  package static let kindName = "momentum"
  package static let formula = "v = mu * v + g'; p = p - rate * (nesterov ? g' + mu * v : v)"

  package let treatment: GradientTreatment
  package let multiplier: Double
  /// The share of the velocity that stays.
  package let momentum: Double
  /// Whether the step looks ahead.
  package let useNesterov: Bool
  package var stateTypes: [UpdateState] { [.likeParameter] }

  /// A step along the velocity.
  package init(
    momentum: Double, useNesterov: Bool = false,
    _ treatment: GradientTreatment = GradientTreatment(), multiplier: Double = 1
  ) {
    self.momentum = momentum
    self.useNesterov = useNesterov
    self.treatment = treatment
    self.multiplier = multiplier
  }

  package var attributes: [(name: String, value: String)] {
    [("mu", "\(momentum)")] + (useNesterov ? [("nesterov", "true")] : []) + commonAttributes
  }
}

/// Adam, with decay of the parameter apart from the gradient where `decay` is not 0 (AdamW).
///
/// m = beta1 * m + (1 - beta1) * g'; v = beta2 * v + (1 - beta2) * g'^2;
/// parameter = parameter * (1 - rate * decay) - rate * (m / (1 - power1)) /
/// (sqrt(v / (1 - power2)) + epsilon); then power1 *= beta1, power2 *= beta2.
///
/// A finite g' beyond half the root of the largest number (9.2e18 in float32) counts as that, so
/// that v is finite. An epsilon below the root of the least normal number (1.1e-19 in float32)
/// counts as that: the squares of smaller gradients vanish.
///
/// State: m, v, power1, power2; the powers start at beta1 and beta2, and are float64: 1 - 0.999
/// would be off by 1e-5 of itself in float32.
///
/// Sources: Kingma and Ba (2015), algorithm 1; Loshchilov and Hutter (2019), algorithm 2, with the
/// decay multiplied by the whole learning rate.
package struct AdamUpdate: ParameterUpdate {
  package static let kindName = "adam"
  package static let formula =
    "m = b1 * m + (1 - b1) * g'; v = b2 * v + (1 - b2) * g'^2; "
    + "p = p * (1 - rate * decay) - rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)"

  package let treatment: GradientTreatment
  package let multiplier: Double
  /// The share of the first moment that stays.
  package let beta1: Double
  /// The share of the second moment that stays.
  package let beta2: Double
  /// Keeps the quotient finite.
  package let epsilon: Double
  /// The share of the parameter that goes, times the rate.
  package let decay: Double
  package var stateTypes: [UpdateState] { [.likeParameter, .likeParameter, .power, .power] }

  /// A step scaled by the moments of the gradient.
  package init(
    beta1: Double, beta2: Double, epsilon: Double, decay: Double = 0,
    _ treatment: GradientTreatment = GradientTreatment(), multiplier: Double = 1
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.decay = decay
    self.treatment = treatment
    self.multiplier = multiplier
  }

  package var name: String { decay == 0 ? "adam" : "adamw" }

  package var attributes: [(name: String, value: String)] {
    [("beta1", "\(beta1)"), ("beta2", "\(beta2)"), ("epsilon", "\(epsilon)")]
      + (decay == 0 ? [] : [("decay", "\(decay)")]) + commonAttributes
  }
}
