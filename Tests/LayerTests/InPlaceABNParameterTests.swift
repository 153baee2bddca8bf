import ABNTestSupport
import InPlaceABN
import Testing

/// Each parameter of `inplaceABN` with each kind of value it takes, against the definition.
@Suite struct InPlaceABNParameterTests {
  /// Scale and bias of two or three channels, away from 1 and 0.
  static let scale = [1.5, -0.75, 2]
  static let bias = [0.25, -0.5, 1]
  static func attr(_ values: [Double], name: String? = nil) -> ParamAttr {
    ParamAttr(name: name, initializer: .array(Tensor(values)))
  }
  static let scaleAttr = attr(scale)
  static let biasAttr = attr(bias)

  // MARK: act, actAlpha

  static let functions: [(Activation, @Sendable (Double) -> Double)] = [
    (.identity, { $0 }), (.relu, { max($0, 0) }), (.relu6, { min(max($0, 0), 6) }),
    (.leakyReLU(), { $0 > 0 ? $0 : 0.3 * $0 }), (.prelu, { $0 > 0 ? $0 : 0.25 * $0 }),
    (.elu(), { $0 > 0 ? $0 : 0.3 * (_exp($0) - 1) }), (.sigmoid, { 1 / (1 + _exp(-$0)) }),
    (.tanh, { (_exp(2 * $0) - 1) / (_exp(2 * $0) + 1) }), (.swish, { $0 / (1 + _exp(-$0)) }),
    (.hardSwish, { $0 * min(max($0 + 3, 0), 6) / 6 }),
    (.hardSigmoid, { min(max($0 + 3, 0), 6) / 6 }),
    (
      .mish,
      {
        let square = (1 + _exp($0)) * (1 + _exp($0))
        return $0 * (square - 1) / (square + 1)
      }
    ),
  ]

  /// A series, so that the reference shares nothing with the engine.
  static func _exp(_ x: Double) -> Double {
    var (sum, term) = (1.0, 1.0)
    for n in 1..<60 {
      term *= x / 16 / Double(n)
      sum += term
    }
    for _ in 0..<4 { sum *= sum }
    return sum
  }

  @Test func everyActivationByNameAndByCase() throws {
    let x = Rig.numbers([5, 3, 4])
    // gelu is tested against its formula in OperatorTests; here its spellings.
    #expect(Self.functions.count + 1 == Activation.all.count)
    for act in Activation.all {
      let spellings: [Activation] = try [
        act, Activation(named: act.name),
        Activation(named: act.name.replacing("_", with: "-")),
        Activation(named: act.name.uppercased()),
      ]
      var results: [[Double]] = []
      for spelling in spellings {
        let rig = Rig()
        let z = try rig.builder.build {
          try inplaceABN(
            data("x", shape: x.shape, dtype: .float64), act: spelling.with(alpha: 0.3),
            paramAttr: Self.scaleAttr,
            biasAttr: Self.biasAttr)
        }
        try rig.start()
        results.append(try rig.run(["x": x], [z])[0])
      }
      #expect(Set(results).count == 1, "\(act)")
      guard let function = Self.functions.first(where: { $0.0 == act })?.1 else { continue }
      let plain = PlainLayer(scale: Self.scale, bias: Self.bias, act: function)
      expectClose(results[0], plain.forward(x).z, tolerance: 1e-13, "\(act)")
    }
  }

  @Test func noActivation() throws {
    for act in try [
      Activation?.none, .identity, Activation(named: ""), Activation(named: "none"),
      Activation(named: "linear"),
    ] {
      let rig = Rig()
      try rig.builder.build { _ = try inplaceABN(data("x", shape: [4, 3]), act: act) }
      #expect(rig.builder.main.operators.map(\.kindName) == ["inplace_abn"])
      #expect(rig.builder.main.operators[0].kind.attributes[0].value == "identity")
    }
  }

  @Test(arguments: [Activation.leakyReLU(), .elu()], [0.01, 1, 2.5, 0, -0.5])
  func alpha(_ act: Activation, _ alpha: Double) throws {
    let x = Rig.numbers([6, 3, 3], 1)
    let rig = Rig()
    let z = try rig.builder.build {
      try inplaceABN(
        data("x", shape: x.shape, dtype: .float64), act: act.with(alpha: alpha),
        paramAttr: Self.scaleAttr,
        biasAttr: Self.biasAttr)
    }
    try rig.start()
    let plain = PlainLayer(
      scale: Self.scale, bias: Self.bias,
      act: { $0 > 0 ? $0 : alpha * (act.name == "elu" ? Self._exp($0) - 1 : $0) })
    expectClose(try rig.run(["x": x], [z])[0], plain.forward(x).z, tolerance: 1e-13)
  }

  @Test func slopesOfPReLUAreLearnt() throws {
    let x = Rig.numbers([6, 3, 4], 2)
    let rig = Rig()
    let loss = try rig.builder.build {
      let z = try inplaceABN(
        data("x", shape: x.shape, dtype: .float64), act: .prelu, paramAttr: Self.scaleAttr,
        biasAttr: Self.biasAttr, name: "bn")
      let loss = try reduceSum(square(z))
      try SGD(learningRate: 0.01).minimize(loss)
      return loss
    }
    try rig.start()
    #expect(rig["bn.w_3"] == [0.25])
    let y = PlainLayer(scale: Self.scale, bias: Self.bias).forward(x).y
    let before = try rig.run(["x": x], [loss])[0][0]
    // dslope = sum(dz * min(y, 0)), dz = 2 z.
    let gradient = y.reduce(0) { $0 + ($1 < 0 ? 2 * 0.25 * $1 * $1 : 0) }
    expectClose(rig["bn.w_3"], [0.25 - 0.01 * gradient], tolerance: 1e-12)
    #expect(try rig.run(["x": x], [loss])[0][0] < before)
  }

  // MARK: dataLayout, epsilon, element types

  static let shapes: [(Shape, DataLayout)] = [
    ([7, 3], .nchw), ([7, 3], .nhwc), ([4, 3, 5], .nchw), ([4, 5, 3], .nhwc),
    ([2, 3, 4, 5], .nchw), ([2, 4, 5, 3], .nhwc), ([2, 3, 2, 3, 4], .nchw),
    ([2, 2, 3, 4, 3], .nhwc),
  ]

  @Test(arguments: shapes, [0, 1e-5, 0.3])
  func layoutAndEpsilon(_ place: (shape: Shape, layout: DataLayout), _ epsilon: Double) throws {
    let x = Rig.numbers(place.shape, 3)
    let rig = Rig()
    let z = try rig.builder.build {
      try inplaceABN(
        data("x", shape: x.shape, dtype: .float64), epsilon: epsilon, paramAttr: Self.scaleAttr,
        biasAttr: Self.biasAttr, dataLayout: place.layout)
    }
    #expect(z.shape == place.shape)
    try rig.start()
    let plain = PlainLayer(scale: Self.scale, bias: Self.bias, epsilon: epsilon)
    expectClose(
      try rig.run(["x": x], [z])[0], plain.forward(x, place.layout).z, tolerance: 1e-13)
  }

  @Test(arguments: [DType.float16, .bfloat16, .float32, .float64])
  func parametersOfEachElementType(_ dtype: DType) throws {
    let rig = Rig()
    let z = try rig.builder.build {
      try inplaceABN(data("x", shape: [4, 3, 2], dtype: dtype), act: .prelu)
    }
    #expect(z.dtype == dtype)
    let wanted: DType = dtype == .float64 ? .float64 : .float32
    #expect(rig.builder.main.parameters.map(\.dtype) == Array(repeating: wanted, count: 5))
    // Scale, bias and slopes are trained, the statistics are not.
    #expect(
      rig.builder.main.parameters.map { $0.parameterTraits!.trainable }
        == [true, true, false, false, true])
    try rig.start()
    #expect(rig["inplace_abn_0.w_0"] == [1, 1, 1] && rig["inplace_abn_0.b_0"] == [0, 0, 0])
    #expect(rig["inplace_abn_0.w_1"] == [0, 0, 0] && rig["inplace_abn_0.w_2"] == [1, 1, 1])
  }

  // MARK: isTest, useGlobalStats

  static let movingMean = [0.5, -1, 0.25]
  static let movingVariance = [2, 0.5, 1.25]

  @Test(arguments: [(true, false), (false, true), (true, true)])
  func movingStatisticsAreUsedAndStay(_ isTest: Bool, _ useGlobalStats: Bool) throws {
    let x = Rig.numbers([4, 3, 5], 4)
    let rig = Rig()
    let z = try rig.builder.build {
      try inplaceABN(
        data("x", shape: x.shape, dtype: .float64), act: "leaky-relu", isTest: isTest,
        paramAttr: Self.scaleAttr, biasAttr: Self.biasAttr, movingMeanName: "mean",
        movingVarianceName: "variance", useGlobalStats: useGlobalStats, actAlpha: 0.1)
    }
    try rig.start()
    rig.scope["mean"] = Tensor(Self.movingMean)
    rig.scope["variance"] = Tensor(Self.movingVariance)
    let plain = PlainLayer(scale: Self.scale, bias: Self.bias, act: { $0 > 0 ? $0 : 0.1 * $0 })
    let wanted = plain.forward(x, given: (Self.movingMean, Self.movingVariance)).z
    for _ in 0..<2 { expectClose(try rig.run(["x": x], [z])[0], wanted, tolerance: 1e-13) }
    #expect(rig["mean"] == Self.movingMean && rig["variance"] == Self.movingVariance)
    // One element for each channel is no obstacle here.
    let single = Rig()
    let one = try single.builder.build {
      try inplaceABN(
        data("x", shape: [1, 3]), isTest: isTest, useGlobalStats: useGlobalStats)
    }
    try single.start()
    _ = try single.run(["x": Rig.numbers([1, 3], dtype: .float32)], [one])
  }

  @Test func gradientWithMovingStatistics() throws {
    let x = Rig.numbers([4, 3, 5], 5)
    let dz = Rig.numbers([4, 3, 5], 6)
    let rig = Rig()
    let (input, loss) = try rig.builder.build {
      let input = try data("x", shape: x.shape, dtype: .float64, stopsGradient: false)
      let z = try inplaceABN(
        input, act: "leaky_relu", paramAttr: Self.scaleAttr, biasAttr: Self.biasAttr, name: "bn",
        movingMeanName: "mean", movingVarianceName: "variance", useGlobalStats: true,
        actAlpha: 0.1)
      let w = try data("w", shape: x.shape, dtype: .float64)
      return (input, try reduceSum(elementwiseMul(z, w)))
    }
    try rig.start()
    rig.scope["mean"] = Tensor(Self.movingMean)
    rig.scope["variance"] = Tensor(Self.movingVariance)
    let main = rig.builder.main
    let wanted = [input, main.variable(named: "bn.w_0")!, main.variable(named: "bn.b_0")!]
    let result = try main.differentiated(loss, withRespectTo: wanted)
    let got = try rig.run(
      result.program, ["x": x, "w": dz], wanted.map { result.gradients[$0.id]! })
    let plain = PlainLayer(
      scale: Self.scale, bias: Self.bias, act: { $0 > 0 ? $0 : 0.1 * $0 },
      slope: { $0 > 0 ? 1 : 0.1 })
    let forward = plain.forward(x, given: (Self.movingMean, Self.movingVariance))
    let reference = plain.backward(dz.doubles, forward, x.shape)
    expectClose(got[0], reference.dx, tolerance: 1e-13)
    expectClose(got[1], reference.dscale, tolerance: 1e-12)
    expectClose(got[2], reference.dbias, tolerance: 1e-13)
    #expect(rig["mean"] == Self.movingMean)
  }

  // MARK: paramAttr, biasAttr

  /// One step of SGD on sum(w z) with a layer of these attributes; the values before and after, and
  /// the gradients.
  private func step(_ scale: ParamAttr, _ bias: ParamAttr) throws -> (
    before: [[Double]], after: [[Double]], gradients: [[Double]]
  ) {
    let x = Rig.numbers([6, 3, 2], 7)
    let w = Rig.numbers([6, 3, 2], 8)
    let rig = Rig()
    let loss = try rig.builder.build {
      let z = try inplaceABN(
        data("x", shape: x.shape, dtype: .float64), paramAttr: scale, biasAttr: bias, name: "bn")
      return try reduceSum(elementwiseMul(z, data("w", shape: w.shape, dtype: .float64)))
    }
    let names = [scale.name ?? "bn.w_0", bias.name ?? "bn.b_0"]
    let variables = try names.map { try rig.builder.main.requireVariable(named: $0) }
    let result = try rig.builder.main.differentiated(loss, withRespectTo: variables)
    try rig.start()
    let before = names.map { rig[$0] }
    let gradients = try rig.run(
      result.program, ["x": x, "w": w], variables.map { result.gradients[$0.id]! })
    // Something must be trained, whatever the layer's attributes say.
    try rig.builder.build {
      let other = try fc(data("u", shape: [1, 1], dtype: .float64), size: 1)
      try SGD(learningRate: 0.1).minimize(elementwiseAdd(loss, reduceSum(other)))
    }
    try rig.start()
    _ = try rig.run(["x": x, "w": w, "u": Tensor([1.0], shape: [1, 1])])
    return (before, names.map { rig[$0] }, gradients)
  }

  @Test func namesAndInitializers() throws {
    let (before, after, gradients) = try step(
      Self.attr(Self.scale, name: "gamma"), ParamAttr(name: "beta", initializer: .constant(3)))
    #expect(before == [Self.scale, [3, 3, 3]])
    for i in 0..<2 {
      expectClose(after[i], zip(before[i], gradients[i]).map { $0 - 0.1 * $1 }, tolerance: 1e-13)
    }
  }

  @Test func learningRateAndRegularizer() throws {
    let (before, after, gradients) = try step(
      ParamAttr(initializer: .constant(2), learningRate: 0.5, regularizer: .l2(0.25)),
      ParamAttr(initializer: .constant(-1), learningRate: 3, regularizer: .l1(0.5)))
    expectClose(
      after[0], zip(before[0], gradients[0]).map { $0 - 0.05 * ($1 + 0.25 * $0) },
      tolerance: 1e-13)
    expectClose(
      after[1], zip(before[1], gradients[1]).map { $0 - 0.3 * ($1 - 0.5) }, tolerance: 1e-13)
  }

  @Test func whatIsNotTrainableStays() throws {
    for frozen in [ParamAttr(initializer: .constant(2), trainable: false), .absent] {
      let (before, after, gradients) = try step(frozen, Self.biasAttr)
      #expect(after[0] == before[0])
      #expect(after[1] != before[1] && gradients[0].contains { $0 != 0 })
      let other = try step(Self.scaleAttr, frozen)
      #expect(other.after[1] == other.before[1] && other.after[0] != other.before[0])
    }
    let constants = try step(.absent, .absent).before
    #expect(constants == [[1, 1, 1], [0, 0, 0]])
  }
}
