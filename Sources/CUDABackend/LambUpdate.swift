import ABNOperators
import ABNRuntime
import ABNTensors

extension LambUpdate: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let count = c.inputType(0).shape.elementCount
    let types = UpdateTypes(
      parameter: try c.floatType(ofInput: 0), gradient: try c.floatType(ofInput: 1),
      rate: c.inputType(2).dtype)
    let wide = types.parameter.accumulation
    // Reading first tells that a value must be there before the run.
    var arguments = try (0..<c.inputCount).map { try c.read($0) }
    arguments[0] = c.write(0)
    for position in stateTypes.indices { arguments[3 + position] = c.write(1 + position) }
    let step = arguments.count
    let (parameterNorm, stepNorm, sums) = (step + 1, step + 2, step + 3)
    arguments += [
      c.scratch(bytes: max(count, 1) * wide.bytes), c.scratch(bytes: 8), c.scratch(bytes: 8),
      c.scratch(bytes: CUDAContext.squaresScratchBytes(count: count)),
    ]
    let numbers = [2] + (treatment.isScaled ? [scaleIndex] : []) + [5, 6]
    var launches = [
      try c.flatLaunch(
        stepFormula(types), count: count, [0, 1, 3, 4, step, 3, 4] + numbers)
    ]
    launches += try c.squaredNormLaunches(
      of: 0, types.parameter, count: count, sums: sums, total: parameterNorm)
    launches += try c.squaredNormLaunches(
      of: step, wide, count: count, sums: sums, total: stepNorm)
    launches += [
      try c.flatLaunch(
        moveFormula(types), count: count, [0, step, 0, 2, parameterNorm, stepNorm]),
      try c.flatLaunch(.powers(beta1, beta2), count: 1, [5, 6, 5, 6]),
    ]
    c.launch(arguments, launches)
  }

  /// The step, and the new moments.
  private func stepFormula(_ types: UpdateTypes) -> FlatFormula {
    var formula = momentFormula(
      types, "out = kept * a + stride * (second / (squareRoot(third) * spread + epsilon));",
      beta1: beta1, beta2: beta2, epsilon: epsilon, [("kept", .real(decay))],
      constants: "  const Num stride = (Num)(1.0 / (1.0 - *power1));")
    formula.outputs[0] = .number(types.parameter.accumulation)
    formula.scalars += [("power1", .float64), ("power2", .float64)]
    return formula
  }

  /// The parameter after the step, as long as the norms of the two say.
  private func moveFormula(_ types: UpdateTypes) -> FlatFormula {
    var formula = FlatFormula(
      [types.parameter, types.parameter.accumulation], [types.parameter], "out = a - rate * b;",
      [("multiplier", .double(multiplier)), ("isAdapted", .integer(isAdapted ? 1 : 0))])
    formula.scalars = [
      ("rateGiven", types.rate), ("ofParameter", .float64), ("ofStep", .float64),
    ]
    formula.setup = """
        const bool adapts = isAdapted != 0 && *ofParameter != 0.0 && *ofStep != 0.0;
        const f64 ratio = adapts ? sqrt(*ofParameter) / sqrt(*ofStep) : 1.0;
        const Num rate = (Num)((f64)*rateGiven * multiplier * ratio);
      """
    return formula
  }
}
