import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// A block of a network drawn at random, with a convolution or a product before an in-place layer and a kept sum
/// after it: gradients in float32 and float64 against the same block out of place in float64.
@Suite struct RescueGraphPropertyTests {
  struct Block {
    var channels: Int
    var isImage: Bool
    var isLast: Bool
    var scales: [Double]
    var biases: [Double]
    /// What the layer's input is multiplied by: its deviation.
    var spread: Double
    /// The same of the sum's other term.
    var side: Double
    var epsilon: Double
    var isGlobal: Bool
    var act: Activation
    var after: Activation
    var random: CounterRandom

    init(seed: UInt64) {
      let draws = CounterRandom(seed: seed, stream: 31)
      var drawn: UInt64 = 0
      func uniform() -> Double {
        drawn += 1
        return Double(draws.uniform(drawn))
      }
      func pick<T>(_ list: [T]) -> T {
        list[min(list.count - 1, Int(uniform() * Double(list.count)))]
      }
      random = CounterRandom(seed: seed, stream: 32)
      channels = pick([3, 8, 16])
      isImage = pick([true, true, false])
      isLast = isImage && pick([true, false])
      let sizes = [1.0, 1, 0.1, 1e-3, 1e-5, 1e-8]
      scales = (0..<channels).map { _ in pick(sizes) * (0.5 + uniform()) * pick([1, -1]) }
      biases = scales.map { scale in pick([0, 0, 1, 3, -3, 100]) * scale * uniform() }
      spread = pick([1, 1, 1, 1e-2, 1e-4, 1e-6])
      side = pick([1, 1, 1e-3])
      epsilon = pick([1e-5, 1e-5, 1e-3, 0.05])
      isGlobal = pick([false, false, false, true])
      act = pick([.identity, .identity, .leakyReLU(), .elu()])
      after = pick([.identity, .leakyReLU()])
    }

    var shape: Shape {
      isImage ? (isLast ? [3, 5, 5, channels] : [3, channels, 5, 5]) : [40, channels]
    }
  }

  /// The gradients of all parameters, by name.
  func gradients(
    _ block: Block, _ dtype: DType, inPlace: Bool
  ) throws -> [(name: String, values: [Double])] {
    let builder = ProgramBuilder(seed: 3)
    let layout: DataLayout = block.isLast ? .nhwc : .nchw
    var wanted: [Variable] = []
    let program = try builder.build {
      func linear(_ x: Variable, _ name: String) throws -> Variable {
        block.isImage
          ? try conv2d(
            x, numFilters: block.channels, filterSize: 3, padding: 1, biasAttr: .absent,
            name: name, dataLayout: layout)
          : try fc(x, size: block.channels, biasAttr: .absent, name: name)
      }
      func norm(
        _ x: Variable, _ act: Activation, _ scales: [Double], _ biases: [Double], _ name: String
      ) throws -> Variable {
        let type = dtype == .float64 ? scales : scales.map { Double(Float($0)) }
        let shift = dtype == .float64 ? biases : biases.map { Double(Float($0)) }
        let scale = ParamAttr(initializer: .array(Tensor(type, shape: [block.channels])))
        let bias = ParamAttr(initializer: .array(Tensor(shift, shape: [block.channels])))
        if inPlace {
          return try inplaceABN(
            x, act: act.with(alpha: 0.7), epsilon: block.epsilon, paramAttr: scale, biasAttr: bias,
            dataLayout: layout, name: name, useGlobalStats: block.isGlobal)
        }
        let y = try batchNorm(
          x, epsilon: block.epsilon, paramAttr: scale, biasAttr: bias, dataLayout: layout,
          name: name, useGlobalStats: block.isGlobal)
        return try activation(y, act.with(alpha: 0.7))
      }
      let x = try data("x", shape: block.shape, dtype: dtype)
      let weight = try data("w", shape: block.shape, dtype: dtype)
      let ones = block.scales.map { _ in 1.0 }
      let zeros = block.scales.map { _ in 0.0 }
      let h = try norm(linear(x, "first"), .elu(), ones, zeros, "before")
      let u = try norm(
        scale(linear(h, "second"), factor: block.spread), block.act, block.scales, block.biases,
        "layer")
      let sum = try elementwiseAdd(u, scale(h, factor: block.side))
      let z = try activation(sum, block.after.with(alpha: 0.7))
      let loss = try reduceSum(elementwiseMul(square(linear(z, "third")), weight))
      wanted = builder.main.parameters.filter { $0.parameterTraits!.trainable }
      return try builder.main.differentiated(loss, withRespectTo: wanted)
    }
    func numbers(_ first: UInt64) -> Tensor {
      Tensor(
        (0..<block.shape.elementCount).map {
          Double(block.random.uniform(first + UInt64($0))) * 2 - 1
        }, shape: block.shape
      ).cast(to: dtype)
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    let results = try executor.run(
      program.program, feed: ["x": numbers(0), "w": numbers(1 << 20)],
      fetch: wanted.map { program.gradients[$0.id]! }, scope: scope)
    return zip(wanted, results).map { ($0.name, $1.doubles) }
  }

  /// Channel by channel: a lost one stands beside others, and the largest of all would hide it. The bound of
  /// float32 is eight times the error out of place and 600 units of rounding: three convolutions, two
  /// normalizations and a term that is subtracted (128 u). float64 has no better reference than itself out of place,
  /// whose own error is not known: 4,000 units.
  @Test func aBlockIsAsGoodAsOutOfPlace() throws {
    for seed in soakSeed..<soakSeed + UInt64(12 * soakFactor) {
      let block = Block(seed: seed)
      let exact = try gradients(block, .float64, inPlace: false)
      for dtype in [DType.float32, .float64] {
        let inside = try gradients(block, dtype, inPlace: true)
        let outside =
          dtype == .float64 ? exact : try gradients(block, dtype, inPlace: false)
        let u = dtype == .float64 ? 0x1p-53 : 0x1p-24
        for (index, (name, truth)) in exact.enumerated() {
          // Of convolutions the filters of a channel stand together; of a product they are columns.
          let isProduct = !block.isImage && truth.count > block.channels
          for channel in 0..<block.channels {
            let own = truth.indices.filter {
              isProduct
                ? $0 % block.channels == channel : $0 / (truth.count / block.channels) == channel
            }
            func error(_ values: [Double]) -> Double {
              own.map { Swift.abs(values[$0] - truth[$0]) }.max() ?? 0
            }
            let largest = own.map { Swift.abs(truth[$0]) }.max() ?? 0
            let (mine, other) = (error(inside[index].values), error(outside[index].values))
            #expect(
              mine <= 8 * other + (dtype == .float64 ? 4000 : 600) * u * largest,
              """
              seed \(seed) \(dtype) \(name) channel \(channel): off by \(mine), out of place \
              \(other), of \(largest); \(block)
              """)
          }
        }
      }
    }
  }
}
