import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNOptimizers
import ABNRuntime
import ABNTensors
import ABNTestSupport
import Testing

@testable import ABNCUDABackend
@testable import ABNModels

/// Training steps of narrow networks, on the card as on the processor: pooling, resizing,
/// concatenation and broadcasts in the orders of images that convolutions ask for.
@Suite(.enabled(if: FlatCase.card != nil, "no card, and none is stood in for"))
struct NetworkTests {
  static let networks = [
    Model(name: "u", summary: "", image: [3, 32, 32], classes: 5) {
      try UNet(width: 4).logits($0, $1)
    },
    SegmentationBackbone.resNet("resnet50", ResNet(blocks: [1, 1, 1, 1], width: 4))
      .deepLabV3("dilated", ""),
  ]

  /// The losses before the first and the second update.
  private func losses(_ model: Model, _ backend: any Backend) throws -> [Double] {
    let builder = ProgramBuilder(seed: 1)
    let (loss, labels) = try builder.build {
      let images = try data("images", shape: [2, 3, 32, 32])
      let logits = try model.build(images, ModelOptions(classes: 5))
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([2, 1] + map), dtype: .int64)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      _ = try SGD(learningRate: 0x1p-8).minimize(loss)
      return (loss, labels)
    }
    let scope = Scope()
    try initialize(scope, builder.startup)
    let random = CounterRandom(seed: 9, stream: 0)
    let feed = [
      "images": Tensor(
        (0..<2 * 3 * 32 * 32).map { Float(random.uniform(UInt64($0)) - 0.5) },
        shape: [2, 3, 32, 32]),
      "labels": Tensor(
        (0..<labels.shape.elementCount).map { Int64($0 * 7 % 5) }, shape: labels.shape),
    ]
    return try FlatCase.turn.withLock { _ in
      let executor = Executor(backend: backend)
      return try (0..<2).map { _ in
        try executor.run(builder.main, feed: feed, fetch: [loss], scope: scope)[0].doubles[0]
      }
    }
  }

  /// As the startup program does, without the time that a debug build takes to draw numbers.
  private func initialize(_ scope: Scope, _ startup: Program) throws {
    try Executor(backend: CPUBackend()).run(
      startup.with(operators: startup.operators.filter { !($0.kind is RandomFill) }),
      scope: scope)
    let random = CounterRandom(seed: 3, stream: 5)
    let tile = (0..<4093).map { Float(2 * random.uniform($0) - 1) }
    for op in startup.operators {
      guard let fill = op.kind as? RandomFill else { continue }
      let factor: Double
      switch fill.distribution {
      case .uniform(_, let high): factor = high
      case .normal(_, let deviation), .truncatedNormal(_, let deviation):
        factor = deviation * 3.0.squareRoot()
      }
      let values = (0..<fill.type.shape.elementCount).map { tile[$0 % 4093] * Float(factor) }
      scope[startup[op.outputs[0]].name] = Tensor(values, shape: fill.type.shape)
    }
  }

  @Test(arguments: networks) func trainsAsTheProcessor(_ model: Model) throws {
    let wanted = try losses(model, CPUBackend())
    #expect(wanted[0] != wanted[1])
    let card = try losses(model, try #require(FlatCase.card))
    // Rounding, 6e-8, grows in each layer and in the update.
    for (own, number) in zip(card, wanted) {
      #expect(
        (own - number).magnitude <= 1e-4 * number.magnitude, "\(model.name): \(card), \(wanted)")
    }
    // Channels last, in 8 bits of fraction.
    let narrow = try losses(
      model, try CUDABackend(precision: .bfloat16, host: CPUBackend()))
    for (own, number) in zip(narrow, wanted) {
      #expect(
        (own - number).magnitude <= 0.03 * number.magnitude, "\(model.name): \(narrow), \(wanted)")
    }
  }
}
