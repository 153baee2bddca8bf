import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension ParameterUpdate {
  /// The arguments of an update, at the positions of its inputs: parameter and state updated, the
  /// rest read.
  func updateArguments(_ c: inout LoweringContext) throws -> [StepArgument] {
    // Reading first tells that a value must be there before the run.
    var arguments = try (0..<c.inputCount).map { try c.read($0) }
    arguments[0] = c.write(0)
    for position in stateTypes.indices { arguments[3 + position] = c.write(1 + position) }
    return arguments
  }

  /// The learning rate of this step, times the parameter's multiplier.
  func rateReader(_ c: LoweringContext) -> @Sendable (StepPointers) -> Double {
    let multiplier = multiplier
    if c.inputType(2).dtype == .float64 { return { p in p(2, as: Double.self)[0] * multiplier } }
    return { p in Double(p(2, as: Float.self)[0]) * multiplier }
  }

  /// What is made of the gradient first, with the factor of this step.
  func treatmentReader() -> @Sendable (StepPointers) -> FlatOperation.Treatment {
    let (treatment, scaleIndex) = (treatment, scaleIndex)
    return { p in
      FlatOperation.Treatment(
        minimum: treatment.minimum, maximum: treatment.maximum,
        scale: treatment.isScaled ? p(scaleIndex, as: Double.self)[0] : 1, l1: treatment.l1,
        l2: treatment.l2)
    }
  }

  /// A step that updates the parameter and `states` arrays by an operator that is made anew each
  /// time.
  func updateStep(
    _ c: LoweringContext, states: Int,
    _ op: @escaping @Sendable (StepPointers) -> FlatOperation
  ) throws -> @Sendable (StepPointers) throws -> Void {
    let count = c.inputType(0).shape.elementCount
    let element = try c.element(c.inputType(0).dtype)
    return { p in
      func array(_ index: Int) -> FlatOperand { FlatOperand(p[index], element) }
      var operands = FlatOperands(array(0), array(1), array(0))
      if states > 0 { (operands.c, operands.second) = (array(3), array(3)) }
      if states > 1 { (operands.d, operands.third) = (array(4), array(4)) }
      try FlatKernel(op(p), in: element)(operands, count: count)
    }
  }
}

extension SGDUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let arguments = try updateArguments(&c)
    let (readRate, treatment) = (rateReader(c), treatmentReader())
    c.step(
      arguments,
      run: try updateStep(c, states: 0) { p in .sgd(treatment(p), rate: readRate(p)) })
  }
}

extension MomentumUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let arguments = try updateArguments(&c)
    let (readRate, treatment) = (rateReader(c), treatmentReader())
    let (factor, isAhead) = (momentum, useNesterov)
    // The factor as the element type has it.
    let stored = c.inputType(0).dtype == .float64 ? factor : Double(Float(factor))
    c.step(
      arguments,
      run: try updateStep(c, states: 1) { p in
        let rate = readRate(p)
        return .momentum(
          treatment(p), rate: rate, factor: factor, ahead: isAhead ? rate * stored : nil)
      })
  }
}

/// Bounds that keep the moments of a gradient, and the quotient of the two, finite.
struct MomentBounds: Sendable {
  /// The divisor's smallest value: below the root of the least normal number the square of a
  /// gradient has vanished, and a smaller divisor would make the step anything.
  let epsilon: Double
  /// Of finite gradients the largest that counts.
  let largest: Double

  /// The bounds of numbers of this type, for an epsilon asked for.
  init(epsilon: Double, _ dtype: DType) {
    let isDouble = dtype == .float64
    let least = isDouble ? Double.leastNormalMagnitude : Double(Float.leastNormalMagnitude)
    let greatest =
      isDouble
      ? Double.greatestFiniteMagnitude.squareRoot()
      : Double(Float.greatestFiniteMagnitude.squareRoot())
    self.epsilon = max(epsilon, least.squareRoot())
    largest = greatest / 2
  }
}

extension AdamUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let arguments = try updateArguments(&c)
    let (readRate, treatment) = (rateReader(c), treatmentReader())
    let kind = self
    let bounds = MomentBounds(epsilon: epsilon, c.inputType(0).dtype)
    let update = try updateStep(c, states: 2) { p in
      let rate = readRate(p)
      return .adam(
        treatment(p),
        FlatOperation.Adam(
          betas: (kind.beta1, kind.beta2), epsilon: bounds.epsilon, largest: bounds.largest,
          kept: 1 - rate * kind.decay, stride: rate / (1 - p(5, as: Double.self)[0]),
          spread: 1 / (1 - p(6, as: Double.self)[0]).squareRoot()))
    }
    c.step(arguments) { p in
      try update(p)
      p(5, as: Double.self)[0] *= kind.beta1
      p(6, as: Double.self)[0] *= kind.beta2
    }
  }
}
