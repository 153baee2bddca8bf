import ABNOperators
import ABNRuntime
import ABNTensors

/// The element types of an update.
struct UpdateTypes: Hashable {
  var parameter, gradient, rate: DType
}

/// An update that many parameters share one launch of (`UpdateGroup`).
protocol GroupedUpdate: ParameterUpdate {
  /// Over parameter, gradient and the arrays of state; what is new takes the old's place. State of
  /// one number is among `ownScalars`.
  func formula(_ types: UpdateTypes) -> FlatFormula
  /// What becomes of the state of one number, afterwards; nil where there is none.
  var numbersFormula: FlatFormula? { get }
}

extension GroupedUpdate {
  var numbersFormula: FlatFormula? { nil }
}

/// Where the operands of updates stand among an operator's inputs and outputs.
struct UpdateOperands {
  let rate: Int
  /// Of the gradients; nil where they are not scaled.
  let scale: Int?
  /// For each parameter: itself, gradient, state.
  let inputs: [[Int]]
  /// For each parameter: itself, state.
  let outputs: [[Int]]
}

extension CUDAContext {
  /// A step of updates that differ in their tensors alone.
  mutating func update(_ kind: some GroupedUpdate, _ operands: UpdateOperands) throws {
    // Reading first tells that a value must be there before the run.
    var arguments = try (0..<inputCount).map { try read($0) }
    var sets: [UpdateTypes: [(pointers: [Int], count: Int)]] = [:]
    for (inputs, outputs) in zip(operands.inputs, operands.outputs) {
      arguments[inputs[0]] = write(outputs[0])
      for (input, output) in zip(inputs.dropFirst(2), outputs.dropFirst()) {
        arguments[input] = write(output)
      }
      let types = UpdateTypes(
        parameter: try floatType(ofInput: inputs[0]), gradient: try floatType(ofInput: inputs[1]),
        rate: inputType(operands.rate).dtype)
      sets[types, default: []].append((inputs, inputType(inputs[0]).shape.elementCount))
    }
    let arrays = kind.stateTypes.indices.filter { kind.stateTypes[$0] == .likeParameter }
    let updated = [0] + arrays.indices.map { 2 + $0 }
    var launches = try sets.sorted { $0.value[0].pointers[0] < $1.value[0].pointers[0] }.flatMap {
      types, own in
      try flatLaunches(
        kind.formula(types), updated: updated, over: own,
        scalars: [operands.rate] + (operands.scale.map { [$0] } ?? []))
    }
    if let formula = kind.numbersFormula {
      let numbers = operands.inputs.map {
        (pointers: Array($0.dropFirst(2 + arrays.count)), count: 1)
      }
      launches += try flatLaunches(
        formula, updated: Array(formula.inputs.indices), over: numbers, scalars: [])
    }
    launch(arguments, launches)
  }
}

extension GroupedUpdate {
  func lower(_ c: inout CUDAContext) throws {
    let states = stateTypes.indices.map { 3 + $0 }
    try c.update(
      self,
      UpdateOperands(
        rate: 2, scale: treatment.isScaled ? scaleIndex : nil, inputs: [[0, 1] + states],
        outputs: [Array(0...stateTypes.count)]))
  }

}

extension ParameterUpdate {
  /// The formula of an update: `a` the parameter, `gradient` what is made of its gradient first,
  /// `c` and `d` its state, `rate` the learning rate of this step; `wideRate` is that in float64.
  ///
  /// - Parameters:
  ///   - states: arrays of state.
  ///   - constants: behind `wideRate`, computed once a thread.
  func formula(
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
}

extension SGDUpdate: CUDALowerable, GroupedUpdate {
  func formula(_ types: UpdateTypes) -> FlatFormula {
    formula(types, states: 0, "out = a - rate * gradient;", [])
  }
}

extension MomentumUpdate: CUDALowerable, GroupedUpdate {
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

extension AdamUpdate: CUDALowerable, GroupedUpdate {
  func formula(_ types: UpdateTypes) -> FlatFormula {
    var formula = momentFormula(
      types, "out = kept * a - stride * (second / (squareRoot(third) * spread + epsilon));",
      beta1: beta1, beta2: beta2, epsilon: epsilon, [("decayed", .double(decay))],
      constants: """
          const Num kept = (Num)(1.0 - wideRate * decayed);
          const Num stride = (Num)(wideRate / (1.0 - *power1));
        """)
    formula.ownScalars = [("power1", .float64), ("power2", .float64)]
    return formula
  }

  var numbersFormula: FlatFormula? { .powers(beta1, beta2) }
}

extension ParameterUpdate {
  /// The formula of an update by moments: `second` and `third` the new ones, `body` assigns `out`.
  /// The numbers `power1` and `power2` are the caller's to name.
  func momentFormula(
    _ types: UpdateTypes, _ body: String, beta1: Double, beta2: Double, epsilon: Double,
    _ parameters: [(name: String, value: FlatParameter)], constants: String
  ) -> FlatFormula {
    let isDouble = types.parameter == .float64
    let least = isDouble ? Double.leastNormalMagnitude : Double(Float.leastNormalMagnitude)
    let greatest =
      isDouble
      ? Double.greatestFiniteMagnitude.squareRoot()
      : Double(Float.greatestFiniteMagnitude.squareRoot())
    // The square of a finite gradient must be finite: an infinite second moment would never come
    // down, and the parameter stand still. An infinite gradient stays and makes NaN.
    var formula = formula(
      types, states: 2,
      """
      const Num size = magnitude(gradient);
              const Num bounded = gradient > Num(0) ? largest : -largest;
              const Num finite = size > Numbers<Num>::greatest() ? gradient : bounded;
              const Num taken = size > largest ? finite : gradient;
              second = beta1 * c + rest1 * taken;
              third = beta2 * d + rest2 * taken * taken;
              // Divided first: the quotient is near 1, whatever the gradients are.
              \(body)
      """,
      [
        ("beta1", .real(beta1)), ("beta2", .real(beta2)), ("rest1", .real(1 - beta1)),
        ("rest2", .real(1 - beta2)),
        // Below this the square of a gradient has vanished, and a smaller divisor would make the
        // step anything.
        ("epsilon", .real(max(epsilon, least.squareRoot()))), ("largest", .real(greatest / 2)),
      ] + parameters,
      constants: constants + "\n  const Num spread = (Num)(1.0 / squareRoot(1.0 - *power2));")
    formula.files = [.activations]
    return formula
  }
}

extension FlatFormula {
  /// The powers of the two betas, one step on.
  static func powers(_ beta1: Double, _ beta2: Double) -> FlatFormula {
    FlatFormula(
      [.float64, .float64], [.float64, .float64], "out = a * beta1; second = b * beta2;",
      [("beta1", .real(beta1)), ("beta2", .real(beta2))])
  }
}
