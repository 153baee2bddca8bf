import ABNGraph
import ABNOperators
import ABNTensors

/// Adam: steps scaled by running means of the gradient and of its square, both corrected for their
/// start at 0.
///
/// m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
/// p = p - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon), t from 1.
///
/// State: `<parameter>_moment1_0` and `_moment2_0`, first 0; `_beta1_pow_acc_0` and
/// `_beta2_pow_acc_0`, [1] float64, first beta1 and beta2.
///
/// Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (ICLR 2015), algorithm 1.
public struct Adam: Optimizer {
  public let learningRate: LearningRate
  public let regularization: Regularizer?
  public let gradientClip: GradientClip?
  /// The share of the first moment that stays, in 0 ..< 1.
  public let beta1: Double
  /// The share of the second moment that stays, in 0 ..< 1.
  public let beta2: Double
  /// Added to the root of the second moment; above 0, and at least what `AdamUpdate` says.
  public let epsilon: Double
  public var state: [(suffix: String, initial: Double)] { adamState(beta1, beta2) }

  /// Steps scaled by moments. See `SGD` for the parameters that both have.
  public init(
    learningRate: any LearningRateConvertible = 0.001, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, regularization: Regularizer? = nil, gradientClip: GradientClip? = nil
  ) {
    self.learningRate = learningRate.asLearningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.regularization = regularization
    self.gradientClip = gradientClip
  }

  public func validate() throws {
    try requireShare(beta1, "beta1")
    try requireShare(beta2, "beta2")
    try requirePositive(epsilon, "epsilon")
  }

  public func update(
    of parameter: Variable, treatment: GradientTreatment, multiplier: Double
  ) -> any ParameterUpdate {
    AdamUpdate(
      beta1: beta1, beta2: beta2, epsilon: epsilon, treatment, multiplier: multiplier)
  }
}

/// Adam with decay apart from the gradient: p = p * (1 - rate * weightDecay) before Adam's step,
/// the rate being the parameter's own (schedule and multiplier included).
///
/// State: as `Adam`. A penalty (`regularization`, or a parameter's own) is added to the gradient
/// all the same.
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (ICLR 2019), algorithm 2,
/// with eta * alpha as the rate.
public struct AdamW: Optimizer {
  public let learningRate: LearningRate
  public let regularization: Regularizer?
  public let gradientClip: GradientClip?
  /// The share of the first moment that stays, in 0 ..< 1.
  public let beta1: Double
  /// The share of the second moment that stays, in 0 ..< 1.
  public let beta2: Double
  /// Added to the root of the second moment; above 0, and at least what `AdamUpdate` says.
  public let epsilon: Double
  /// The share of a parameter that goes in each step, times the rate.
  public let weightDecay: Double
  /// Which parameters decay; scales and biases of norms, as a rule, do not.
  public let decays: @Sendable (Variable) -> Bool
  public var state: [(suffix: String, initial: Double)] { adamState(beta1, beta2) }

  /// Adam's steps, and decay. See `SGD` for the parameters that both have.
  ///
  /// - Parameters:
  ///   - weightDecay: a finite number of at least 0.
  ///   - decays: which parameters decay; all where left out.
  public init(
    learningRate: any LearningRateConvertible = 0.001, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 0.01, regularization: Regularizer? = nil,
    gradientClip: GradientClip? = nil,
    decays: @escaping @Sendable (Variable) -> Bool = { _ in true }
  ) {
    self.learningRate = learningRate.asLearningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.regularization = regularization
    self.gradientClip = gradientClip
    self.decays = decays
  }

  public func validate() throws {
    try requireShare(beta1, "beta1")
    try requireShare(beta2, "beta2")
    try requirePositive(epsilon, "epsilon")
    try requireDecay(weightDecay)
  }

  public func update(
    of parameter: Variable, treatment: GradientTreatment, multiplier: Double
  ) -> any ParameterUpdate {
    AdamUpdate(
      beta1: beta1, beta2: beta2, epsilon: epsilon, decay: decays(parameter) ? weightDecay : 0,
      treatment, multiplier: multiplier)
  }
}

/// The state of an optimizer with moments.
func adamState(_ beta1: Double, _ beta2: Double) -> [(suffix: String, initial: Double)] {
  [("moment1", 0), ("moment2", 0), ("beta1_pow_acc", beta1), ("beta2_pow_acc", beta2)]
}

/// Throws unless the number is at least 0, and not above those of float32.
func requireDecay(_ weightDecay: Double) throws {
  guard weightDecay >= 0, weightDecay <= Schedule.largestRate else {
    throw ABNError(
      .attribute, "weightDecay", got: "\(weightDecay)",
      wanted: "a finite number of at least 0 that float32 holds")
  }
}
