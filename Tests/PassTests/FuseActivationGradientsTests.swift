import ABNGraph
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// An activation behind the in-place layer and the layer as one operator, and their gradients as one.
@Suite struct FuseActivationGradientsPropertyTests {
  static let acts: [Activation] = [
    .relu, .relu6, .sigmoid, .tanh, .swish, .gelu, .hardSwish, .mish,
  ]

  /// What is fetched after one step of a layer on x: gradients, and y where `readsOutput`.
  private func step(
    _ act: Activation, _ shape: Shape, _ dtype: DType, _ layout: DataLayout,
    scale channelScale: [Float],
    global: Bool, seed: UInt64, fused: Bool, extra: Bool = false
  ) throws -> (bits: [Tensor], kinds: [String], decisions: [PassDecision]) {
    let channels = layout == .nchw ? shape[1] : shape[shape.rank - 1]
    let builder = ProgramBuilder(seed: 3)
    var fetched: [Variable] = []
    var program = Program()
    try builder.build {
      let x = try data("x", shape: shape, dtype: dtype, stopsGradient: false)
      let y = try inplaceABN(
        scale(x, factor: 1), act: act, paramAttr: ParamAttr(name: "scale"),
        biasAttr: ParamAttr(name: "bias"), dataLayout: layout, useGlobalStats: global)
      let other = extra ? [try square(y)] : []
      let weights = try data("w", shape: shape, dtype: dtype)
      var loss = try reduceSum(elementwiseMul(y, weights))
      for value in other { loss = try elementwiseAdd(loss, reduceSum(value)) }
      let wanted = [x] + ["scale", "bias"].map { builder.main.variable(named: $0)! }
      let result = try builder.main.differentiated(loss, withRespectTo: wanted)
      fetched = [y] + wanted.map { result.gradients[$0.id]! }
      program = result.program
    }
    let passes = memoryPasses + (fused ? [FuseActivationGradients(), FuseActivations()] : [])
    let (executor, scope) = (Executor(backend: CPUBackend(passes: passes)), Scope())
    try executor.run(builder.startup, scope: scope)
    scope["scale"] = Tensor(channelScale, shape: [channels]).cast(to: dtype.accumulation)
    func numbers(_ stream: UInt64) -> Tensor {
      let random = CounterRandom(seed: seed, stream: stream)
      return Tensor(
        (0..<shape.elementCount).map { Float(4 * random.uniform(UInt64($0)) - 2) }, shape: shape
      ).cast(to: dtype)
    }
    let feed = ["x": numbers(1), "w": numbers(2)]
    let values = try executor.run(program, feed: feed, fetch: fetched, scope: scope)
    let compiled = try executor.compile(
      program, feed: feed.mapValues(\.shape), fetch: fetched)
    return (values, compiled.lowered.steps.map(\.name), compiled.decisions)
  }

  /// The same bits in every layout, type and size, with channels that keep their x, on any statistics.
  @Test(arguments: acts) func sameBits(_ act: Activation) throws {
    let shapes: [(Shape, DataLayout)] = [
      ([3, 5, 7], .nchw), ([2, 4, 24, 24], .nchw), ([2, 3, 130, 130], .nchw), ([40, 6], .nchw),
      ([3, 9, 20], .nhwc), ([2, 40, 40, 24], .nhwc),
    ]
    let random = CounterRandom(seed: soakSeed, stream: 5)
    for index in 0..<(3 * soakFactor) {
      func draw(_ place: Int, _ count: Int) -> Int {
        Int(random.bits(UInt64(8 * index + place)) % UInt32(count))
      }
      let (shape, layout) = shapes[draw(0, shapes.count)]
      let dtype = [DType.float32, .float16, .bfloat16, .float64][draw(1, 4)]
      let channels = layout == .nchw ? shape[1] : shape[shape.rank - 1]
      // A scale of 0 cannot be undone.
      var scale = [Float](repeating: 1.25, count: channels)
      if draw(2, 2) == 1 { scale[draw(3, channels)] = 0 }
      let (global, seed) = (draw(4, 4) == 0, UInt64(index))
      func run(_ fused: Bool) throws -> (bits: [Tensor], kinds: [String], decisions: [PassDecision])
      {
        try step(act, shape, dtype, layout, scale: scale, global: global, seed: seed, fused: fused)
      }
      let (plain, fused) = (try run(false), try run(true))
      let isRead = act != .relu && act != .relu6 || plain.kinds.contains("\(act)_grad")
      #expect(
        fused.kinds.contains("inplace_abn_grad of \(act)") == isRead, "\(fused.kinds)")
      #expect(fused.kinds.contains("\(act)_grad") == false, "\(fused.kinds)")
      // Where a mask is kept the activation writes it.
      #expect(
        fused.kinds.contains("inplace_abn and \(act)") == isRead, "\(fused.kinds)")
      for (a, b) in zip(plain.bits, fused.bits) {
        #expect(a == b, "\(act) \(shape) \(layout) \(dtype) global \(global) seed \(index)")
      }
      #expect(!fused.decisions.filter { $0.action == .fused }.isEmpty == isRead)
    }
  }

  @Test func whatOthersReadStays() throws {
    let test = try step(
      .swish, [2, 3, 8], .float32, .nchw, scale: [1, 1, 1], global: false, seed: 1, fused: true,
      extra: true)
    // Two parts of the gradient are added before.
    #expect(test.kinds.contains("inplace_abn_grad of swish"))
    let leaky = try step(
      .leakyReLU(), [2, 3, 8], .float32, .nchw, scale: [1, 1, 1], global: false, seed: 1,
      fused: true)
    #expect(!leaky.kinds.contains { $0.hasPrefix("inplace_abn_grad of") })
  }
}
