import ABNGraph
import ABNOperators
import ABNTensors

/// LAMB, for large batches: Adam's step with decay, as long for each parameter as the parameter's
/// norm says (see `LambUpdate`).
///
/// State: as `Adam`. A penalty (`regularization`, or a parameter's own) is added to the gradient
/// all the same.
///
/// Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes"
/// (ICLR 2020), algorithm 2.
package struct Lamb: Optimizer {
  package let learningRate: LearningRate
  package let regularization: Regularizer?
  package let gradientClip: GradientClip?
  /// The share of the first moment that stays, in 0 ..< 1.
  package let beta1: Double
  /// The share of the second moment that stays, in 0 ..< 1.
  package let beta2: Double
  /// Added to the root of the second moment; above 0.
  package let epsilon: Double
  /// The share of a parameter that is added to its step.
  package let weightDecay: Double
  /// Which parameters decay and have steps scaled by norms; the others have plain steps of Adam.
  package let adapts: @Sendable (Variable) -> Bool
  package var state: [(suffix: String, initial: Double)] { adamState(beta1, beta2) }

  /// Steps scaled by moments and norms. See `SGD` for the parameters that both have.
  ///
  /// - Parameters:
  ///   - weightDecay: a finite number of at least 0.
  ///   - adapts: which parameters decay and have their steps scaled; all where left out. Scales and
  ///     biases, as a rule, do not.
  package init(
    learningRate: any LearningRateConvertible = 0.001, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-6, weightDecay: Double = 0.01, regularization: Regularizer? = nil,
    gradientClip: GradientClip? = nil,
    adapts: @escaping @Sendable (Variable) -> Bool = { _ in true }
  ) {
    self.learningRate = learningRate.asLearningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.regularization = regularization
    self.gradientClip = gradientClip
    self.adapts = adapts
  }

  package func validate() throws {
    try requireShare(beta1, "beta1")
    try requireShare(beta2, "beta2")
    try requirePositive(epsilon, "epsilon")
    try requireDecay(weightDecay)
  }

  package func update(
    of parameter: Variable, treatment: GradientTreatment, multiplier: Double
  ) -> any ParameterUpdate {
    let isAdapted = adapts(parameter)
    return LambUpdate(
      beta1: beta1, beta2: beta2, epsilon: epsilon, decay: isAdapted ? weightDecay : 0,
      isAdapted: isAdapted, treatment, multiplier: multiplier)
  }
}
