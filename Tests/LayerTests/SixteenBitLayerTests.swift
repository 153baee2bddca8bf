import ABNTestSupport
import InPlaceABN
import Testing

/// The layer with float16 and bfloat16 data inside of a graph: float32 parameters, 16 bits between.
@Suite struct SixteenBitLayerTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let dtype: DType
    let act: Activation
    let alpha: Double
    var testDescription: String { "\(act) \(alpha) \(dtype)" }
  }

  static let cases = [DType.float16, .bfloat16].flatMap { dtype in
    Activation.all.map { Case(dtype: dtype, act: $0, alpha: 0.2) }
      + [
        Case(dtype: dtype, act: .leakyReLU(), alpha: -0.5),
        Case(dtype: dtype, act: .elu(), alpha: 0),
      ]
  }

  /// Convolution, layer, pooling, a residual sum, a second branch, concatenation, a classifier: all
  /// between a cast from float32 and one back to it.
  private func losses(_ dtype: DType, _ test: Case, steps: Int) throws -> (
    losses: [Double], program: Program
  ) {
    let rig = Rig()
    let loss = try rig.builder.build {
      let images = try data("images", shape: [8, 3, 8, 8])
      let labels = try data("labels", shape: [8, 1], dtype: .int64)
      let x = try cast(images, to: dtype)
      func abn(_ x: Variable) throws -> Variable {
        try inplaceABN(x, act: test.act.with(alpha: test.alpha))
      }
      let a = try abn(
        conv2d(x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent))
      let b = try pool2d(a, poolSize: 2, poolStride: 2)
      let c = try abn(conv2d(b, numFilters: 16, filterSize: 3, padding: 1))
      let sum = try elementwiseAdd(c, scale(b, factor: 0.5))
      let side = try reshape(reduceMean(sum, axes: [2, 3]), [8, 16])
      let flat = try flatten(pool2d(sum, poolSize: 2, poolType: .average, poolStride: 2))
      let features = try abn(fc(concat([side, flat], axis: 1), size: 24))
      let logits = try cast(fc(features, size: 4), to: .float32)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels))
      try Momentum(learningRate: 0.02, momentum: 0.9).minimize(loss)
      return loss
    }
    #expect(rig.builder.main.parameters.allSatisfy { $0.dtype == .float32 })
    try rig.start()
    let labels = Tensor((0..<8).map { Int64($0 % 4) }, shape: [8, 1])
    let images = Rig.numbers([8, 3, 8, 8], 50, dtype: .float32)
    let values = try (0..<steps).map { _ in
      try rig.run(["images": images, "labels": labels], [loss])[0][0]
    }
    return (values, rig.builder.main)
  }

  @Test(arguments: cases) func training(_ test: Case) throws {
    let steps = 8
    let (wanted, _) = try losses(.float32, test, steps: steps)
    let (got, program) = try losses(test.dtype, test, steps: steps)
    // Rounding to 11 or 8 bits in every layer, then eight steps: no bound, but the same road.
    let tolerance = test.dtype == .float16 ? 0.02 : 0.15
    for (a, b) in zip(got, wanted) {
      #expect(abs(a - b) <= tolerance * wanted[0], "\(got), wanted \(wanted)")
    }
    #expect(got.last! < got[0] * 0.9, "\(got)")
    // The values between the layers, and their gradients, have 16 bits.
    for op in program.operators where op.kindName.hasPrefix("inplace_abn") {
      #expect(program[op.outputs[0]].dtype == test.dtype)
    }
  }

  /// The passes that save memory keep gradients right in 16 bits too: inputs restored by the layer's
  /// inverse, masks of bits.
  @Test(arguments: [DType.float16, .bfloat16])
  func memoryPassesInSixteenBits(_ dtype: DType) throws {
    let rig = Rig()
    let (loss, parameters) = try rig.builder.build {
      func conv(_ x: Variable) throws -> Variable {
        try conv2d(x, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent)
      }
      let x = try cast(data("x", shape: [4, 3, 8, 8]), to: dtype)
      let a = try inplaceABN(conv(x), act: "leaky_relu", actAlpha: 0.1)
      let b = try leakyReLU(elementwiseAdd(inplaceABN(conv(a)), a), alpha: 0.1)
      let h = try conv(b)
      let c = try elementwiseAdd(conv(h), inplaceABN(h, act: "elu"))
      let d = try inplaceABN(relu(conv(c)), act: "leaky_relu", actAlpha: 0.2)
      let end = try cast(inplaceABN(d, act: "elu"), to: .float32)
      let loss = try reduceSum(elementwiseMul(end, data("w", shape: end.shape)))
      return (loss, rig.builder.main.parameters.filter { $0.parameterTraits!.trainable })
    }
    let result = try rig.builder.main.differentiated(loss, withRespectTo: parameters)
    let gradients = parameters.map { result.gradients[$0.id]! }
    let feed = [
      "x": Rig.numbers([4, 3, 8, 8], 70, dtype: .float32),
      "w": Rig.numbers([4, 16, 8, 8], 71, dtype: .float32),
    ]
    try rig.start()
    let start = rig.scope.snapshot()
    func run(_ passes: [any ProgramPass]) throws -> (values: [[Double]], actions: Set<String>) {
      let executor = Executor(backend: CPUBackend(passes: passes))
      for (name, value) in start { rig.scope[name] = value }
      let values = try executor.run(
        result.program, feed: feed, fetch: gradients, scope: rig.scope)
      let compiled = try executor.compile(
        result.program, feed: feed.mapValues(\.shape), fetch: gradients)
      return (values.map(\.doubles), Set(compiled.decisions.map { "\($0.action)" }))
    }
    let (wanted, none) = try run([])
    let (got, actions) = try run(memoryPasses)
    #expect(none.isEmpty)
    for action in ["restored", "masked"] {
      #expect(actions.contains(action), "\(actions)")
    }
    let unit = dtype == .float16 ? 0x1p-11 : 0x1p-8
    for (parameter, (a, b)) in zip(parameters, zip(got, wanted)) {
      expectClose(a, b, tolerance: 16 * unit, "\(parameter.name)")
    }
  }

  /// Half the bytes for what is stored.
  @Test func theArenaIsSmaller() throws {
    func arena(_ dtype: DType) throws -> Int {
      let builder = ProgramBuilder()
      return try builder.build {
        var x = try cast(data("x", shape: [16, 16, 8]), to: dtype)
        for _ in 0..<12 { x = try tanh(inplaceABN(x, act: "leaky_relu", actAlpha: 0.1)) }
        let loss = try mean(cast(x, to: .float32))
        try SGD(learningRate: 0.1).minimize(loss)
        return try Executor(backend: CPUBackend()).compile(builder.main, feed: ["x": [16, 16, 8]])
          .plan.arenaBytes
      }
    }
    let (wide, narrow) = (try arena(.float32), try arena(.float16))
    #expect(Double(narrow) < 0.7 * Double(wide), "\(narrow) of \(wide)")
  }

  /// What is stored in a blocked layout comes out in the order of its dimensions.
  @Test(arguments: [DType.float16, .bfloat16], [8, 16, 24, 32])
  func blockedLayouts(_ dtype: DType, _ channels: Int) throws {
    func values(_ dtype: DType) throws -> [[Double]] {
      let rig = Rig()
      let wanted = try rig.builder.build {
        let x = try cast(data("x", shape: [2, channels, 5, 3]), to: dtype)
        let a = try conv2d(x, numFilters: channels, filterSize: 3, padding: 1)
        let b = try inplaceABN(a, act: "elu")
        return [b, try transpose(b, [0, 2, 3, 1]), try reduceSum(b, axes: [1])]
      }
      try rig.start()
      return try rig.run(["x": Rig.numbers([2, channels, 5, 3], 60, dtype: .float32)], wanted)
    }
    let unit = dtype == .float16 ? 0x1p-11 : 0x1p-8
    for (got, wanted) in zip(try values(dtype), try values(.float32)) {
      expectClose(got, wanted, tolerance: 8 * unit)
    }
  }
}
