import InPlaceABN
import Testing

@testable import ABNModels

/// Networks on a few small images: the loss of a batch falls when it is trained on, in place and
/// standard alike.
@Suite struct TrainingTests {
  /// First values like those of the startup program, without the minutes that drawing millions of
  /// normal numbers takes in a debug build: 4,093 of them, repeated and scaled.
  static func initialize(_ scope: Scope, startup: Program) throws {
    let drawn = startup.operators.filter { $0.kind is RandomFill }
    try Executor(backend: CPUBackend()).run(
      startup.with(operators: startup.operators.filter { !($0.kind is RandomFill) }),
      scope: scope)
    let random = CounterRandom(seed: 3, stream: 5)
    // Uniform in -1 ..< 1, whose deviation is 1 / sqrt(3).
    let tile = (0..<4093).map { Float(2 * random.uniform($0) - 1) }
    for op in drawn {
      let fill = try #require(op.kind as? RandomFill)
      let factor: Double
      switch fill.distribution {
      case .uniform(_, let high): factor = high
      case .normal(_, let deviation), .truncatedNormal(_, let deviation):
        factor = deviation * 3.0.squareRoot()
      }
      let scaled = tile.map { $0 * Float(factor) }
      var values: [Float] = []
      let count = fill.type.shape.elementCount
      while values.count < count {
        values.append(contentsOf: scaled.prefix(count - values.count))
      }
      scope[startup[op.outputs[0]].name] = Tensor(values, shape: fill.type.shape)
    }
  }

  /// The losses of three steps on one batch.
  func losses(_ model: Model, _ norm: NormStyle, image: Shape, batch: Int) throws -> [Double] {
    let builder = ProgramBuilder(seed: 1)
    let (loss, labels) = try builder.build {
      let images = try data("images", shape: Shape([Shape.unknown] + image.dimensions))
      let logits = try model.build(images, ModelOptions(classes: 5, norm: norm))
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([Shape.unknown, 1] + map), dtype: .int64)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      _ = try SGD(learningRate: 0.02).minimize(loss)
      return (loss, labels)
    }
    let scope = Scope()
    try Self.initialize(scope, startup: builder.startup)
    let random = CounterRandom(seed: 9, stream: 0)
    let (pixels, classes) = (
      Shape([batch] + image.dimensions), Shape([batch] + labels.shape.dimensions.dropFirst())
    )
    let feed = [
      "images": Tensor(
        (0..<pixels.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: pixels),
      "labels": Tensor((0..<classes.elementCount).map { Int64($0 * 7 % 5) }, shape: classes),
    ]
    let executor = Executor(backend: CPUBackend())
    return try (0..<3).map { _ in
      try executor.run(builder.main, feed: feed, fetch: [loss], scope: scope)[0].doubles[0]
    }
  }

  /// One block a stage and an eighth of the width: what a debug build trains in a moment.
  static let small = [
    ResNet(blocks: [1, 1, 1, 2], isBottleneck: false, width: 8).model("basic", ""),
    ResNet(blocks: [1, 1, 1, 2], width: 8).model("bottleneck", ""),
    ResNet(blocks: [1, 1, 1, 2], groups: 4, groupWidth: 32, width: 8).model("grouped", ""),
    ResNetV2(blocks: [1, 1, 1, 2], isBottleneck: false, width: 8).model("basic v2", ""),
    ResNetV2(blocks: [2, 1, 1, 2], width: 8).model("bottleneck v2", ""),
    other("inverted") { try MobileNetV2(width: 8).logits($0, $1) },
    DenseNet(layers: [1, 2, 1, 1]).model("dense", ""),
    other("gated") { try TResNet(blocks: [1, 1, 1, 1], width: 8, options: $1).logits($0) },
    other("wide") { try $1.classified(WideResNet38(width: 4).features($0, $1)) },
    other("u") { try UNet(width: 4).logits($0, $1) },
    dilated.deepLabV3("dilated", ""), dilated.deepLabV3Plus("dilated plus", "", stride: 16),
    other("ladder") {
      let network = ResNet(
        blocks: [1, 1, 1, 1], isBottleneck: false, width: 8, hasDeepStem: true)
      return try SwiftNet(network: network, width: 12, finest: 1).logits($0, $1)
    },
  ]

  static let dilated = SegmentationBackbone.resNet(
    "resnet50", ResNet(blocks: [1, 1, 1, 1], width: 4))

  static func other(
    _ name: String, _ build: @escaping @Sendable (Variable, ModelOptions) throws -> Variable
  ) -> Model {
    Model(name: name, summary: "", image: [3, 32, 32], classes: 5, build: build)
  }

  @Test(arguments: small) func learnsABatch(_ model: Model) throws {
    let found = try NormStyle.allCases.map { norm in
      try losses(model, norm, image: [3, 32, 32], batch: 6)
    }
    #expect(found.allSatisfy { $0.allSatisfy { $0.isFinite } })
    #expect(found[0].last! < found[0].first!, "\(found)")
    // Before and after the first update; by the third step rounding has grown in nets of this depth.
    for (inPlace, standard) in zip(found[0], found[1]).prefix(2) {
      #expect(abs(inPlace - standard) < 2e-3 * standard, "\(found)")
    }
  }
}

extension Model: CustomTestStringConvertible {
  public var testDescription: String { name }
}
