import ABNKernelsBaseline

/// What a flat loop does with the elements a, b, c and d of its operands. The result goes to `out`;
/// of two and three results in brackets, to `out`, `second` and `third`.
package struct FlatOperation: Sendable {
  let code: Int
  let constants: [Double]

  private init(_ code: Int, _ constants: Double...) { self.init(code, constants) }
  private init(_ code: Int, _ constants: [Double]) {
    self.code = code
    self.constants = constants
  }

  /// a, in the type of `out`.
  package static let copy = FlatOperation(FlatCode.copy)
  /// a * factor + bias.
  package static func scale(factor: Double, bias: Double) -> FlatOperation {
    FlatOperation(FlatCode.scale, factor, bias)
  }
  /// a + b.
  package static let add = FlatOperation(FlatCode.add)
  /// a - b.
  package static let subtract = FlatOperation(FlatCode.subtract)
  /// a * b.
  package static let multiply = FlatOperation(FlatCode.multiply)
  /// a / b.
  package static let divide = FlatOperation(FlatCode.divide)
  /// b where it is above a, else a.
  package static let maximum = FlatOperation(FlatCode.maximum)
  /// a + b + c.
  package static let addThree = FlatOperation(FlatCode.addThree)
  /// (a + b + c) / divisor.
  package static func meanOfThree(divisor: Double) -> FlatOperation {
    FlatOperation(FlatCode.meanOfThree, divisor)
  }
  /// (a - b)^2.
  package static let squaredError = FlatOperation(FlatCode.squaredError)
  /// 2 (a - b) c.
  package static let squaredErrorGradient = FlatOperation(FlatCode.squaredErrorGradient)
  /// -c a / b^2: the gradient of the divisor of a / b, c the quotient's.
  package static let divisorGradient = FlatOperation(FlatCode.divisorGradient)

  /// a^2.
  package static let square = FlatOperation(FlatCode.square)
  /// sqrt(a), rounded right.
  package static let squareRoot = FlatOperation(FlatCode.squareRoot)
  /// exp(a), within 1.25 ulps.
  package static let exponential = FlatOperation(FlatCode.exponential)
  /// log(a), within 1.5 ulps.
  package static let logarithm = FlatOperation(FlatCode.logarithm)
  /// |a|.
  package static let magnitude = FlatOperation(FlatCode.magnitude)
  /// 2 a b.
  package static let squareGradient = FlatOperation(FlatCode.squareGradient)
  /// b / (2 a), a the root.
  package static let squareRootGradient = FlatOperation(FlatCode.squareRootGradient)
  /// exp(a) b.
  package static let exponentialGradient = FlatOperation(FlatCode.exponentialGradient)
  /// b / a.
  package static let logarithmGradient = FlatOperation(FlatCode.logarithmGradient)
  /// b with the sign of a; a b where a is 0 or not a number.
  package static let magnitudeGradient = FlatOperation(FlatCode.magnitudeGradient)

  /// act(a).
  package static func activation(_ act: ABNActivation) -> FlatOperation {
    FlatOperation(FlatCode.activation + act.code, act.alpha ?? 1)
  }
  /// b act'(a).
  package static func gradient(_ act: ABNActivation) -> FlatOperation {
    FlatOperation(FlatCode.gradient + act.code, act.alpha ?? 1)
  }
  /// a where a > 0, else b a.
  package static let prelu = FlatOperation(FlatCode.prelu)
  /// (c where a > 0, else b c; 0 where a > 0, else a c).
  package static let preluGradient = FlatOperation(FlatCode.preluGradient)
  /// (act(a); whether act'(a) is 1), of relu, relu6 and leaky ReLU.
  package static func masked(_ act: ABNActivation) -> FlatOperation {
    switch act {
    case .relu: FlatOperation(FlatCode.maskedReLU)
    case .relu6: FlatOperation(FlatCode.maskedReLU6)
    default: FlatOperation(FlatCode.maskedLeaky, act.alpha ?? 1)
    }
  }
  /// b where the bit a is set, else slope * b; nil: else 0.
  package static func unmask(slope: Double?) -> FlatOperation {
    slope.map { FlatOperation(FlatCode.unmaskLeaky, $0) } ?? FlatOperation(FlatCode.unmask)
  }
  /// b * factor where the bit a is set, else 0.
  package static func drop(factor: Double) -> FlatOperation {
    FlatOperation(FlatCode.drop, factor)
  }

  /// act(a + b), of leaky ReLU with a slope.
  package static func residualSum(slope: Double) -> FlatOperation {
    FlatOperation(slope == 0 ? FlatCode.residualSumReLU : FlatCode.residualSum, slope)
  }
  /// act^-1(a) - b.
  package static func residualTerm(inverseSlope: Double) -> FlatOperation {
    FlatOperation(FlatCode.residualTerm, inverseSlope)
  }
  /// (b + c) act'(a), told from the result a.
  package static func residualGradient(slope: Double) -> FlatOperation {
    FlatOperation(slope == 0 ? FlatCode.residualGradientReLU : FlatCode.residualGradient, slope)
  }

  /// exp(a - b).
  package static let shiftedExponential = FlatOperation(FlatCode.shiftedExponential)
  /// (the larger of a and c; b / 2 where that is a, else d): a line's largest share so far, and
  /// half its gradient.
  package static let softmaxTop = FlatOperation(FlatCode.softmaxTop)
  /// d + a (b / 2 - c).
  package static let softmaxDot = FlatOperation(FlatCode.softmaxDot)
  /// 2 a (b / 2 - c - d).
  package static let softmaxGradient = FlatOperation(FlatCode.softmaxGradient)
  /// d + b (a / 2 - c / 2); d where b is 0.
  package static let labelTerm = FlatOperation(FlatCode.labelTerm)
  /// a b; 0 where b is 0.
  package static let hardLabelGradient = FlatOperation(FlatCode.hardLabelGradient)
  /// (a c - b) d.
  package static let softLabelGradient = FlatOperation(FlatCode.softLabelGradient)

  /// The sum of a.
  package static let sum = FlatOperation(FlatCode.sum)
  /// out += each of the rows of a, column by column: `out` is one row of float64, a of float32 or
  /// float64.
  package static let sumOfRows = FlatOperation(FlatCode.sumOfRows)
  /// The sum of a^2.
  package static let sumOfSquares = FlatOperation(FlatCode.sumOfSquares)
  /// The sum of (a + b)^2.
  package static let residualSquares = FlatOperation(FlatCode.residualSquares)
  /// The sum of a (b / 2 - c).
  package static let sumSoftmaxDot = FlatOperation(FlatCode.sumSoftmaxDot)
  /// The sum of b (a / 2 - c / 2), where b is not 0.
  package static let sumLabelTerm = FlatOperation(FlatCode.sumLabelTerm)
  /// The largest a; NaN is passed over.
  package static let largest = FlatOperation(FlatCode.largest)
}

extension FlatOperation {
  /// What an update makes of a gradient g before it uses it: min(max(g, minimum), maximum) * scale
  /// + l2 p + l1 sign(p), p the parameter.
  package struct Treatment: Sendable {
    fileprivate let constants: [Double]

    package init(minimum: Double, maximum: Double, scale: Double, l1: Double, l2: Double) {
      // In two parts: a norm of 1e40 leaves one below the least normal number.
      let first = scale < 0x1p-60 ? 0x1p-60 : 1
      constants = [minimum, maximum, first, scale / first, l1, l2]
    }
  }

  /// a - rate g, g the gradient b as treated.
  package static func sgd(_ treatment: Treatment, rate: Double) -> FlatOperation {
    FlatOperation(FlatCode.sgd, treatment.constants + [rate])
  }
  /// (a - rate v; v = factor c + g), or with Nesterov's look ahead (a - rate (g + factor v); v).
  package static func momentum(
    _ treatment: Treatment, rate: Double, factor: Double, ahead: Double?
  ) -> FlatOperation {
    ahead.map { FlatOperation(FlatCode.nesterov, treatment.constants + [rate, factor, $0]) }
      ?? FlatOperation(FlatCode.momentum, treatment.constants + [rate, factor])
  }

  /// The numbers of a step of Adam.
  package struct Adam: Sendable {
    package var beta1, beta2, epsilon: Double
    /// Of finite gradients the largest that counts.
    package var largest: Double
    /// What is kept of the parameter.
    package var kept: Double
    package var stride, spread: Double

    package init(
      betas: (Double, Double), epsilon: Double, largest: Double, kept: Double, stride: Double,
      spread: Double
    ) {
      (beta1, beta2) = betas
      (self.epsilon, self.largest, self.kept) = (epsilon, largest, kept)
      (self.stride, self.spread) = (stride, spread)
    }
  }

  /// (kept a - stride m / (sqrt(v) spread + epsilon); m = beta1 c + (1 - beta1) g; v = beta2 d +
  /// (1 - beta2) g^2).
  package static func adam(_ treatment: Treatment, _ step: Adam) -> FlatOperation {
    FlatOperation(
      FlatCode.adam,
      treatment.constants + [
        step.beta1, step.beta2, 1 - step.beta1, 1 - step.beta2, step.epsilon, step.largest,
        step.kept, step.stride, step.spread,
      ])
  }
}
