import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension LambUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let (count, element) = (type.shape.elementCount, try c.element(type.dtype))
    var arguments = try updateArguments(&c)
    let step = arguments.count
    arguments += [
      c.scratch(bytes: max(count, 1) * element.bytes),
      c.scratch(bytes: ParallelSum.scratchBytes(count: count)),
    ]
    let (readRate, treatment) = (rateReader(c), treatmentReader())
    let (kind, bounds) = (self, MomentBounds(epsilon: epsilon, type.dtype))
    let squares = try ParallelSum(.sumOfSquares, in: element, count: count)
    c.step(arguments) { p in
      func array(_ index: Int) -> FlatOperand { FlatOperand(p[index], element) }
      let (power1, power2) = (p(5, as: Double.self), p(6, as: Double.self))
      var operands = FlatOperands(array(0), array(1), array(3), array(4), array(step))
      (operands.second, operands.third) = (array(3), array(4))
      // Adam's step away from nothing but the decayed parameter.
      let moments = FlatOperation.Adam(
        betas: (kind.beta1, kind.beta2), epsilon: bounds.epsilon, largest: bounds.largest,
        kept: kind.decay, stride: -1 / (1 - power1[0]),
        spread: 1 / (1 - power2[0]).squareRoot())
      try FlatKernel(.adam(treatment(p), moments), in: element)(operands, count: count)
      let sums = p(step + 1, as: Double.self)
      let ratio =
        kind.isAdapted
        ? kind.ratio(
          squaredParameter: squares(array(0), sums), squaredStep: squares(array(step), sums)) : 1
      let untouched = FlatOperation.Treatment(
        minimum: -.infinity, maximum: .infinity, scale: 1, l1: 0, l2: 0)
      try FlatKernel(.sgd(untouched, rate: readRate(p) * ratio), in: element)(
        FlatOperands(array(0), array(step), array(0)), count: count)
      power1[0] *= kind.beta1
      power2[0] *= kind.beta2
    }
  }
}
