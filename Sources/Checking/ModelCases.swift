import ABNActivations
import ABNGraph
import ABNLayers
import ABNModels
import ABNOperators
import ABNOptimizers
import ABNTensors

extension NormStyle {
  /// What the numbered names of its layers begin with.
  fileprivate var layerName: String { self == .inplace ? "inplace_abn" : "batch_norm" }
}

/// Training steps of a network on random images.
struct ModelCase: Sendable {
  let model: Model
  /// Pictures, and their height and width.
  let batch: Int
  let size: Int
  var norm = NormStyle.inplace
  var classes = 10
  var activation = Activation.leakyReLU(slope: ModelOptions.usualSlope)

  /// Small, and the last normalization of each bottleneck begins with a scale of 0.1: otherwise
  /// rounding grows a thousandfold in the first update of 50 layers, and what comes after it says
  /// nothing (Tests/TrainingTests/ResNet50LossTests.swift).
  var learningRate = 0x1p-13

  /// Losses before the first, second and third update. Rounding, 6e-8, grows about fourfold with
  /// each.
  static let lossBound = 2e-5
  /// Parameters, moving statistics and velocities (sums of gradients) after three updates.
  static let stateBound = 1e-3
  /// Gradients that are zero but for rounding, as of a bias in front of a normalization, are
  /// measured by this.
  static let leastState = 0.1
  /// What 8 bits of fraction make of losses.
  static let narrowLossBound = 0.03

  var name: String { "\(model.name) \(norm.rawValue), \(batch) x \(size)x\(size)" }

  func cases() -> [CheckCase] {
    [DType.float32, .bfloat16].map { dtype in
      CheckCase(
        .models, name, dtype,
        bound: CheckBound(dtype.isNarrow ? Self.narrowLossBound : Self.lossBound),
        stateBound: CheckBound(
          Self.stateBound, .rootMeanSquare, least: Self.leastState, unitsOfProducts: .infinity)
      ) { try program($0, isNarrow: dtype.isNarrow) }
    }
  }

  /// torchvision's names of the normalizations, in the order in which they are made.
  private var normalizations: [String] {
    (model.torchNames ?? []).filter { $0.contains("bn") || $0.hasSuffix("downsample.1") }
  }

  /// - Parameter isNarrow: whether the network has 16 bits between its data and its loss. The
  ///   float64 program does not round: losses within a few per cent are what is promised.
  private func program(_ types: CheckTypes, isNarrow: Bool) throws -> CheckProgram {
    let builder = ProgramBuilder(seed: 4)
    let wide: DType = types.data.isNarrow ? .float32 : types.data
    var logits: Variable!
    let loss = try builder.build {
      let images = try data(
        "images", shape: Shape([batch, model.image[0], size, size]), dtype: wide)
      let narrow = isNarrow && types.data.isNarrow
      logits = try model.build(
        narrow ? cast(images, to: types.data) : images,
        ModelOptions(classes: classes, norm: norm, activation: activation))
      if narrow { logits = try cast(logits, to: .float32) }
      let map = logits.shape.dimensions.dropFirst(2)
      let labels = try data("labels", shape: Shape([batch, 1] + map), dtype: .int64)
      let loss = try mean(softmaxWithCrossEntropy(logits, labels, axis: 1))
      _ = try Momentum(
        learningRate: learningRate, momentum: 0.9, regularization: .l2(1e-4)
      ).minimize(loss)
      return loss
    }
    let random = CounterRandom(seed: 6, stream: 2)
    var program = CheckProgram()
    program.startup = builder.startup
    program.main = builder.main
    program.results = [CheckProgram.Result(label: "loss", variable: loss)]
    let pixels = program.main.variable(named: "images")!.shape
    let labels = program.main.variable(named: "labels")!.shape
    program.feed = [
      "images": Tensor(
        (0..<pixels.elementCount).map { Float(random.uniform(UInt64($0)) - 0.5) }, shape: pixels
      ).cast(to: wide),
      "labels": Tensor(
        (0..<labels.elementCount).map { Int64(random.bits(UInt64($0)) % UInt32(classes)) },
        shape: labels),
    ]
    for (index, layer) in normalizations.enumerated() where layer.hasSuffix("bn3") {
      let scale = program.main.variable(named: "\(norm.layerName)_\(index).w_0")!
      program.values[scale.name] = Tensor(
        [Double](repeating: 0.1, count: scale.shape.elementCount), shape: scale.shape)
    }
    if !isNarrow {
      program.states = program.main.persistables.filter { $0.dtype.isFloatingPoint }.map(\.name)
    }
    return program
  }
}

extension CheckCase {
  static func modelCases() -> [CheckCase] {
    let models = [
      ModelCase(model: .lenet, batch: 8, size: 28), ModelCase(model: .resnet20, batch: 4, size: 32),
      ModelCase(model: .resnet20, batch: 4, size: 32, norm: .standard),
      ModelCase(model: .narrowResNet50, batch: 4, size: 64),
      ModelCase(model: .narrowUNet, batch: 2, size: 32, classes: 2),
      // elu has no kink: with one, an element of another sign moves gradients of this network by 2
      // %.
      ModelCase(
        model: .narrowMobileNetV2, batch: 8, size: 64, activation: .elu(), learningRate: 0x1p-17),
    ]
    return models.flatMap { $0.cases() }
  }
}
