import ABNChecking
import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Derivatives where a function is saturated: 1 - tanh(x)^2 and its like have all their digits.
@Suite struct SaturationPropertyTests {
  /// f'(x), each written so that nothing cancels.
  static func derivative(_ act: Activation, _ alpha: Double, _ x: Double) -> Double {
    let e = Foundation.exp(-x.magnitude)
    switch act {
    case .sigmoid: return e / ((1 + e) * (1 + e))
    case .tanh:
      let squared = e * e
      return 4 * squared / ((1 + squared) * (1 + squared))
    default: return x > 0 ? 1 : alpha * Foundation.exp(x)
    }
  }

  static let acts: [(Activation, Double)] = [(.sigmoid, 1), (.tanh, 1), (.elu(), 1), (.elu(), 0.3)]

  /// One run of act behind `before` with the gradient of x.
  private func gradient(
    _ values: [Double], _ dtype: DType, _ build: (Variable) throws -> Variable
  ) throws -> [Double] {
    let builder = ProgramBuilder()
    let (x, loss) = try builder.build {
      let x = try data("x", shape: [values.count], dtype: dtype, stopsGradient: false)
      return (x, try reduceSum(build(x)))
    }
    return try run(
      builder, feed: ["x": Tensor(values, shape: [values.count]).cast(to: dtype)], loss: loss,
      of: x, fetch: []
    ).gradient.doubles
  }

  @Test(arguments: acts.indices, [DType.float64, .float32, .bfloat16, .float16])
  func everyDigitOfTheDerivative(_ index: Int, _ dtype: DType) throws {
    let (act, alpha) = Self.acts[index]
    let source = CounterRandom(seed: soakSeed, stream: UInt64(index))
    let values = (0..<400 * soakFactor).map {
      Tensor([60 * (source.uniform(UInt64($0)) - 0.5)], shape: [1]).cast(to: dtype).doubles[0]
    }
    let got = try gradient(values, dtype) { try activation($0, act.with(alpha: alpha)) }
    for (x, dx) in zip(values, got) {
      let wanted = Self.derivative(act, alpha, x)
      let unit = max(dtype.unitOfRounding, 8 * min(dtype.unitOfRounding, 0x1p-24))
      #expect(
        abs(dx - wanted) <= 1.01 * unit * wanted + dtype.least.denormal,
        "\(act) \(dtype): \(dx) at \(x), wanted \(wanted)")
    }
  }

  /// batchNorm with a bias of 8, and in place: the gradient of the bias against the layer in float64.
  @Test(arguments: acts.indices, [8.0, -8, 12])
  func biasGradientOfANormalization(_ index: Int, _ bias: Double) throws {
    let (act, alpha) = Self.acts[index]
    func biasGradient(_ dtype: DType, inPlace: Bool) throws -> [Double] {
      let builder = ProgramBuilder(seed: 2)
      let loss = try builder.build {
        let x = try data("x", shape: [64, 3], dtype: dtype)
        let shift = ParamAttr(name: "shift", initializer: .constant(bias))
        return try reduceSum(
          inPlace
            ? inplaceABN(x, act: act.with(alpha: alpha), biasAttr: shift)
            : batchNorm(x, act: act.with(alpha: alpha), biasAttr: shift))
      }
      let parameter = builder.main.variable(named: "shift")!
      let source = CounterRandom(seed: 4, stream: 1)
      let x = Tensor((0..<192).map { 2 * source.uniform(UInt64($0)) - 1 }, shape: [64, 3])
      return try run(
        builder, feed: ["x": x.cast(to: .bfloat16).cast(to: dtype)], loss: loss, of: parameter,
        fetch: []
      ).gradient.doubles
    }
    let wanted = try biasGradient(.float64, inPlace: false)
    for (dtype, tolerance) in [(DType.float32, 1e-5), (.float16, 5e-3), (.bfloat16, 4e-2)] {
      for inPlace in [false, true] where !inPlace || act.name != "elu" {
        for (a, b) in zip(try biasGradient(dtype, inPlace: inPlace), wanted) {
          #expect(
            abs(a - b) <= tolerance * abs(b) + 64 * dtype.least.denormal,
            "\(act) \(dtype) in place \(inPlace): \(a), wanted \(b)")
        }
      }
    }
  }

  /// Given statistics take x = -60,000 to a y of -90,000, which float16 has as minus infinity: the derivative is
  /// 0 there, and the sums over the channel are those of the other elements.
  @Test(arguments: [Activation.swish, .gelu, .mish, .hardSwish, .elu(), .sigmoid, .tanh, .relu])
  func anOverflownElementAddsNothing(_ act: Activation) throws {
    func gradients(_ dtype: DType, inPlace: Bool) throws -> [Double] {
      let builder = ProgramBuilder(seed: 2)
      let loss = try builder.build {
        let x = try data("x", shape: [4, 1], dtype: dtype)
        let (scale, bias) = (
          ParamAttr(name: "scale", initializer: .constant(1.5)), ParamAttr(name: "bias")
        )
        return try reduceSum(
          inPlace
            ? inplaceABN(
              x, act: act, paramAttr: scale, biasAttr: bias, useGlobalStats: true)
            : batchNorm(x, act: act, paramAttr: scale, biasAttr: bias, useGlobalStats: true))
      }
      // In place the gradient of the scale goes back from y, which is infinite.
      let names = inPlace ? ["bias"] : ["bias", "scale"]
      return try names.map {
        try run(
          builder, feed: ["x": Tensor([-60000.0, 1, -0.5, 1.5], shape: [4, 1]).cast(to: dtype)],
          loss: loss, of: builder.main.variable(named: $0)!, fetch: []
        ).gradient.doubles[0]
      }
    }
    let wanted = try gradients(.float64, inPlace: false)
    for inPlace in [false, true] where !inPlace || act.name != "elu" {
      for (a, b) in zip(try gradients(.float16, inPlace: inPlace), wanted) {
        #expect(abs(a - b) <= 4e-3 * abs(b), "\(act) in place \(inPlace): \(a), wanted \(b)")
      }
    }
  }

  /// A class that is nearly certain: 1 - softmax, and the loss, are what the other classes leave.
  @Test(arguments: [DType.float64, .float32], [0, 1])
  func softmaxAndItsLoss(_ dtype: DType, _ axis: Int) throws {
    let tops: [Double] = [5, 15, 30, 60]
    let shape: Shape = axis == 1 ? [4, 9] : [9, 4]
    func placed(_ row: Int, _ c: Int) -> Int { axis == 1 ? 9 * row + c : 4 * c + row }
    var logits = [Double](repeating: 0, count: 36)
    var onehot = logits
    for row in 0..<4 {
      logits[placed(row, 2)] = tops[row]
      onehot[placed(row, 2)] = 1
    }
    let builder = ProgramBuilder()
    var x: Variable!
    let (loss, soft, dot) = try builder.build {
      x = try data("x", shape: shape, dtype: dtype, stopsGradient: false)
      let label = try data("label", shape: axis == 1 ? [4, 1] : [1, 4], dtype: .int64)
      let shares = try data("shares", shape: shape, dtype: dtype)
      return (
        try softmaxWithCrossEntropy(x, label, axis: axis),
        try softmaxWithCrossEntropy(x, shares, softLabel: true, axis: axis),
        try elementwiseMul(softmax(x, axis: axis), shares)
      )
    }
    let feed: [String: Tensor] = [
      "x": Tensor(logits, shape: shape).cast(to: dtype),
      "label": Tensor([Int64](repeating: 2, count: 4), shape: axis == 1 ? [4, 1] : [1, 4]),
      "shares": Tensor(onehot, shape: shape).cast(to: dtype),
    ]
    for (which, sign) in [(loss, -1.0), (soft, -1), (dot, 1)] {
      let total = try builder.build { try reduceSum(which) }
      let result = try builder.main.differentiated(total, withRespectTo: [x])
      let used = Set(
        result.program.pruned(to: [which.id, result.gradients[x.id]!.id]).operators.flatMap(
          \.inputs))
      let got = try Executor(backend: CPUBackend()).run(
        result.program,
        feed: feed.filter { used.contains(builder.main.variable(named: $0.key)!.id) },
        fetch: [which, result.gradients[x.id]!], scope: Scope())
      for row in 0..<4 {
        let rest = 8 * Foundation.exp(-tops[row])
        let lost = rest / (1 + rest)
        // The gradient of the share of the top class is share * (1 - share).
        let wanted = sign < 0 ? -lost : lost / (1 + rest)
        let dx = got[1].doubles[placed(row, 2)]
        let tolerance = 128 * dtype.unitOfRounding
        #expect(abs(dx - wanted) <= tolerance * abs(wanted), "\(row): \(dx), wanted \(wanted)")
        guard sign < 0 else { continue }
        let value = got[0].doubles[row]
        let exact = Foundation.log1p(rest)
        #expect(abs(value - exact) <= tolerance * exact, "\(row): loss \(value), wanted \(exact)")
      }
    }
  }

  /// A chain of convolutions and tanh keeps one tensor a layer, as if the gradient read tanh's output.
  @Test(arguments: acts.indices) func oneTensorALayer(_ index: Int) throws {
    let (act, alpha) = Self.acts[index]
    let shape: Shape = [8, 16, 12, 12]
    func arena(_ depth: Int, _ act: Activation, _ alpha: Double) throws -> Int {
      let builder = ProgramBuilder()
      let loss = try builder.build {
        var y = try data("x", shape: shape)
        for _ in 0..<depth {
          y = try activation(
            conv2d(y, numFilters: 16, filterSize: 3, padding: 1, biasAttr: .absent),
            act.with(alpha: alpha))
        }
        return try mean(y)
      }
      try builder.build { _ = try SGD(learningRate: 0.1).minimize(loss) }
      return try Executor(backend: CPUBackend()).compile(
        builder.main, feed: ["x": shape], fetch: [loss]
      ).plan.arenaBytes
    }
    let bytes = shape.elementCount * 4
    let more = try arena(8, act, alpha) - arena(4, act, alpha)
    #expect(
      more <= 4 * bytes + bytes / 8, "\(act): \(Double(more) / Double(bytes)) tensors for 4 layers")
  }
}
