import ABNGraph
import ABNOperators
import ABNTensors

/// Stochastic gradient descent: p = p - rate * g.
///
/// ```swift
/// try SGD(learningRate: 0.1, regularization: .l2(1e-4)).minimize(loss)
/// ```
public struct SGD: Optimizer {
  public let learningRate: LearningRate
  public let regularization: Regularizer?
  public let gradientClip: GradientClip?
  public var state: [(suffix: String, initial: Double)] { [] }

  /// Plain steps against the gradient.
  ///
  /// - Parameters:
  ///   - learningRate: a number of at least 0, a `Schedule` or a `Variable`.
  ///   - regularization: a penalty on parameters that have none of their own.
  ///   - gradientClip: a bound on gradients of parameters that have none of their own.
  public init(
    learningRate: any LearningRateConvertible, regularization: Regularizer? = nil,
    gradientClip: GradientClip? = nil
  ) {
    self.learningRate = learningRate.asLearningRate
    self.regularization = regularization
    self.gradientClip = gradientClip
  }

  public func validate() throws {}

  public func update(
    of parameter: Variable, treatment: GradientTreatment, multiplier: Double
  ) -> any ParameterUpdate {
    SGDUpdate(treatment, multiplier: multiplier)
  }
}

/// Descent with momentum: v = momentum * v + g; p = p - rate * v, or with Nesterov's look ahead
/// p = p - rate * (g + momentum * v).
///
/// State: `<parameter>_velocity_0`, first 0.
public struct Momentum: Optimizer {
  public let learningRate: LearningRate
  public let regularization: Regularizer?
  public let gradientClip: GradientClip?
  /// The share of the velocity that stays, in 0 ..< 1.
  package let momentum: Double
  /// Whether steps look ahead.
  package let useNesterov: Bool
  public var state: [(suffix: String, initial: Double)] { [("velocity", 0)] }

  /// Steps along a velocity. See `SGD` for the parameters that both have.
  ///
  /// - Parameter momentum: in 0 ..< 1.
  public init(
    learningRate: any LearningRateConvertible, momentum: Double, useNesterov: Bool = false,
    regularization: Regularizer? = nil, gradientClip: GradientClip? = nil
  ) {
    self.learningRate = learningRate.asLearningRate
    self.momentum = momentum
    self.useNesterov = useNesterov
    self.regularization = regularization
    self.gradientClip = gradientClip
  }

  public func validate() throws { try requireShare(momentum, "momentum") }

  public func update(
    of parameter: Variable, treatment: GradientTreatment, multiplier: Double
  ) -> any ParameterUpdate {
    MomentumUpdate(
      momentum: momentum, useNesterov: useNesterov, treatment, multiplier: multiplier)
  }
}

/// Throws unless the number is in 0 ..< 1.
func requireShare(_ value: Double, _ what: String) throws {
  guard value >= 0, value < 1 else {
    throw ABNError(.attribute, what, got: "\(value)", wanted: "a number in 0 ..< 1")
  }
}

/// Throws unless the number is above 0, and not above those of float32.
func requirePositive(_ value: Double, _ what: String) throws {
  guard value > 0, value <= Schedule.largestRate else {
    throw ABNError(
      .attribute, what, got: "\(value)", wanted: "a finite number above 0 that float32 holds")
  }
}
