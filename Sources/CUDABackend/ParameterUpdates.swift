import ABNOperations
import ABNRuntime
import ABNTensors

extension ParameterUpdate {
  /// The arguments of an update, at the positions of its inputs: parameter and state updated, the
  /// rest read.
  fileprivate func updateArguments(_ c: inout CUDAContext) throws -> [StepArgument] {
    // Reading first tells that a value must be there before the run.
    var arguments = try (0..<c.inputCount).map { try c.read($0) }
    arguments[0] = c.write(0)
    for position in stateTypes.indices { arguments[3 + position] = c.write(1 + position) }
    return arguments
  }

  /// The formula of an update: `a` the parameter, `gradient` what is made of its gradient first,
  /// `c` and `d` its state, `rate` the learning rate of this step; `wideRate` is that in float64.
  ///
  /// - Parameters:
  ///   - states: arrays of state.
  ///   - constants: behind `wideRate`, computed once a thread.
  fileprivate func formula(
    _ types: UpdateTypes, states: Int, _ body: String,
    _ parameters: [(name: String, value: FlatParameter)], constants: String = ""
  ) -> FlatFormula {
    let state = Array(repeating: types.parameter.accumulation, count: states)
    var formula = FlatFormula(
      [types.parameter, types.gradient] + state, [types.parameter] + state,
      """
      const Num raised = least > b ? least : b;
              const Num clipped = raised > most ? most : raised;
              const Num sign = (a > Num(0) ? Num(1) : Num(0)) - (Num(0) > a ? Num(1) : Num(0));
              const Num gradient = clipped * scale * rest + l2 * a + l1 * sign;
              \(body)
      """,
      parameters + [
        ("multiplier", .double(multiplier)), ("least", .real(treatment.minimum)),
        ("most", .real(treatment.maximum)), ("l1", .real(treatment.l1)),
        ("l2", .real(treatment.l2)),
      ])
    formula.scalars = [("rateGiven", types.rate)]
    if treatment.isScaled { formula.scalars.append(("scaleGiven", .float64)) }
    // The scale in two parts: a norm of 1e40 leaves one below the least normal number.
    formula.setup = """
        const f64 wideRate = (f64)*rateGiven * multiplier;
        const Num rate = (Num)wideRate;
        const f64 wideScale = \(treatment.isScaled ? "*scaleGiven" : "1.0");
        const f64 firstScale = wideScale < 0x1p-60 ? 0x1p-60 : 1.0;
        const Num scale = (Num)firstScale, rest = (Num)(wideScale / firstScale);
      \(constants)
      """
    return formula
  }

  /// Where the operands of `formula` stand among the arguments.
  fileprivate func pointers(states: Int) -> [Int] {
    let state = (0..<states).map { 3 + $0 }
    return [0, 1] + state + [0] + state + [2] + (treatment.isScaled ? [scaleIndex] : [])
  }
}

/// The element types of an update.
struct UpdateTypes {
  var parameter, gradient, rate: DType

  /// Those of the operation, whose parameter is input 0.
  fileprivate init(_ c: CUDAContext) throws {
    parameter = try c.floatType(ofInput: 0)
    gradient = c.inputType(1).dtype
    rate = c.inputType(2).dtype
  }

  init(parameter: DType, gradient: DType, rate: DType) {
    (self.parameter, self.gradient, self.rate) = (parameter, gradient, rate)
  }
}

/// An update whose every element hangs on its own gradient and state, and on the learning rate:
/// many are done by one launch (`UpdateGroup`).
protocol GroupedUpdate: ParameterUpdate {
  /// Over parameter, gradient and the arrays of state; what is new takes the old's place.
  func formula(_ types: UpdateTypes) -> FlatFormula
}

extension GroupedUpdate {
  fileprivate func lowerAlone(_ c: inout CUDAContext) throws {
    let arguments = try updateArguments(&c)
    let formula = formula(try UpdateTypes(c))
    let count = c.inputType(0).shape.elementCount
    c.launch(
      arguments, [try c.flatLaunch(formula, count: count, pointers(states: stateTypes.count))])
  }
}

extension SGDUpdate: CUDALowerable, GroupedUpdate {
  func lower(_ c: inout CUDAContext) throws { try lowerAlone(&c) }

  func formula(_ types: UpdateTypes) -> FlatFormula {
    formula(types, states: 0, "out = a - rate * gradient;", [])
  }
}

extension MomentumUpdate: CUDALowerable, GroupedUpdate {
  func lower(_ c: inout CUDAContext) throws { try lowerAlone(&c) }

  func formula(_ types: UpdateTypes) -> FlatFormula {
    // The factor as the element type has it.
    let stored = types.parameter == .float64 ? momentum : Double(Float(momentum))
    return formula(
      types, states: 1,
      """
      second = factor * c + gradient;
              out = a - \(useNesterov ? "(rate * gradient + ahead * second)" : "rate * second");
      """,
      [("factor", .real(momentum)), ("stored", .double(stored))],
      constants: "  const Num ahead = (Num)(wideRate * stored);")
  }
}

extension AdamUpdate: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let arguments = try updateArguments(&c)
    let isDouble = c.inputType(0).dtype == .float64
    let least = isDouble ? Double.leastNormalMagnitude : Double(Float.leastNormalMagnitude)
    let greatest =
      isDouble
      ? Double.greatestFiniteMagnitude.squareRoot()
      : Double(Float.greatestFiniteMagnitude.squareRoot())
    // The square of a finite gradient must be finite: an infinite second moment would never come
    // down, and the parameter stand still. An infinite gradient stays and makes NaN.
    var formula = formula(
      try UpdateTypes(c), states: 2,
      """
      const Num size = magnitude(gradient);
              const Num bounded = gradient > Num(0) ? largest : -largest;
              const Num finite = size > Numbers<Num>::greatest() ? gradient : bounded;
              const Num taken = size > largest ? finite : gradient;
              second = beta1 * c + rest1 * taken;
              third = beta2 * d + rest2 * taken * taken;
              // Divided first: the quotient is near 1, whatever the gradients are.
              out = kept * a - stride * (second / (squareRoot(third) * spread + epsilon));
      """,
      [
        ("beta1", .real(beta1)), ("beta2", .real(beta2)), ("rest1", .real(1 - beta1)),
        ("rest2", .real(1 - beta2)),
        // Below this the square of a gradient has vanished, and a smaller divisor would make the
        // step anything.
        ("epsilon", .real(max(epsilon, least.squareRoot()))), ("largest", .real(greatest / 2)),
        ("decayed", .double(decay)),
      ],
      constants: """
          const Num kept = (Num)(1.0 - wideRate * decayed);
          const Num stride = (Num)(wideRate / (1.0 - *power1));
          const Num spread = (Num)(1.0 / squareRoot(1.0 - *power2));
        """)
    formula.files = [.activations]
    formula.scalars += [("power1", .float64), ("power2", .float64)]
    let powers = FlatFormula(
      [.float64, .float64], [.float64, .float64], "out = a * beta1; second = b * beta2;",
      [("beta1", .real(beta1)), ("beta2", .real(beta2))])
    let count = c.inputType(0).shape.elementCount
    c.launch(
      arguments,
      [
        try c.flatLaunch(formula, count: count, pointers(states: 2) + [5, 6]),
        try c.flatLaunch(powers, count: 1, [5, 6, 5, 6]),
      ])
  }
}
