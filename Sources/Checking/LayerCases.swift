import ABNActivations
import ABNGraph
import ABNLayers
import ABNTensors

/// A normalization to check: what is in front of it, its parameters, what stands behind it.
struct LayerCase: Sendable {
  /// Which statistics it normalizes with.
  enum Statistics: String, Sendable, CaseIterable {
    case train, global, test
  }

  var name: String
  var activation = Activation.leakyReLU(slope: 0.2)
  /// Batch, channels, and the rest.
  var sizes: [Int] = [3, 5, 7, 9]
  var statistics = Statistics.train
  var isInPlace = true
  /// Scale and bias of a channel; nil: both drawn, the scale of both signs.
  var parameters: (@Sendable (_ channel: Int) -> (scale: Double, bias: Double))?
  /// An element, by its channel, its place in the tensor and a number in -1 ..< 1.
  var element: @Sendable (_ channel: Int, _ index: Int, _ number: Double) -> Double = {
    channel, _, number in number * (0.5 + Double(channel % 3)) + 0.25 * Double(channel % 5)
  }
  /// Whether its sum with its own input follows.
  var isResidual = false
  var momentum: Float?
  var dtypes: [DType] = [.float32, .bfloat16, .float16, .float64]

  /// What rounding does to a channel, relative to its largest value, in units of rounding. The
  /// layer promises dx within twice what the pass out of place loses, and 16 units more
  /// (Documentation/InPlaceABN.md, Error bounds); that pass loses some 20 in float32 where dx is
  /// what is left of terms that cancel, and next to nothing of 16 bits, as it computes in float32.
  static func bound(_ dtype: DType) -> Double {
    (dtype.isNarrow ? 16 : 64) * dtype.unitOfRounding
  }

  func cases() -> [CheckCase] {
    dtypes.flatMap { dtype in
      DataLayout.allCases.filter { sizes.count > 2 || $0 == .nchw }.map { layout in
        let bound = Self.bound(dtype)
        // Parameters of 16-bit layers are float32: statistics are sums of rounded numbers.
        return CheckCase(
          .layer, name, dtype, layout: layout, bound: CheckBound(bound),
          stateBound: CheckBound(dtype.isNarrow ? dtype.unitOfRounding : bound)
        ) { try program($0, layout) }
      }
    }
  }

  private func program(_ types: CheckTypes, _ layout: DataLayout) throws -> CheckProgram {
    let channels = sizes[1]
    let shape = Shape(
      layout == .nchw ? sizes : [sizes[0]] + sizes.dropFirst(2) + [channels])
    let axis = layout.channelAxis(rank: shape.rank)
    let inner = shape.dimensions[(axis + 1)...].reduce(1, *)
    let element = element
    var inputs = [
      CheckInput.formula(shape) { index, number in
        element(index / inner % channels, index, number)
      }
    ]
    if let momentum { inputs.append(.fixed(Tensor([momentum]))) }
    var program = try CheckProgram(
      inputs, types, axis: axis, isTest: statistics == .test
    ) { given in
      // The layer overwrites what an operator made; twice a number is exact in every type.
      let x = try scale(given[0], factor: 2)
      let momentum = given.count > 1 ? StatisticsMomentum.variable(given[1]) : 0.9
      let z = try normalized(x, layout, momentum)
      return [isResidual ? try leakyReLU(elementwiseAdd(z, x), alpha: 0.1) : z]
    }
    let random = CounterRandom(seed: 13, stream: 0)
    func values(_ value: (Int) -> Double) -> Tensor { Tensor((0..<channels).map(value)) }
    program.values = [
      "layer.w_0": values {
        parameters?($0).scale ?? (0.5 + random.uniform(UInt64($0))) * ($0 % 3 == 1 ? -1 : 1)
      },
      "layer.b_0": values {
        parameters?($0).bias ?? random.uniform(UInt64(1000 + $0)) - 0.5
      },
    ]
    if statistics != .train {
      program.values["layer.w_1"] = values { random.uniform(UInt64(2000 + $0)) - 0.5 }
      program.values["layer.w_2"] = values { random.uniform(UInt64(3000 + $0)) + 0.5 }
    }
    return program
  }

  private func normalized(
    _ x: Variable, _ layout: DataLayout, _ momentum: StatisticsMomentum
  ) throws -> Variable {
    let isGlobal = statistics == .global
    if isInPlace {
      return try inplaceABN(
        x, act: activation, momentum: momentum, dataLayout: layout, name: "layer",
        useGlobalStats: isGlobal)
    }
    let y = try batchNorm(
      x, momentum: momentum, dataLayout: layout, name: "layer", useGlobalStats: isGlobal)
    return activation == .prelu
      ? try prelu(y, name: "slopes") : try ABNLayers.activation(y, activation)
  }
}

extension CheckCase {
  static func layerCases() -> [CheckCase] {
    let layers =
      activations(isInPlace: true) + activations(isInPlace: false) + shapes() + parameters()
      + elements() + neighbours()
    return layers.flatMap { $0.cases() }
  }

  /// Every activation with every kind of statistics.
  private static func activations(isInPlace: Bool) -> [LayerCase] {
    let numbers: [Activation: [Double]] = [.leakyReLU(): [0.2], .elu(): [1, 0.5]]
    // The last one's planes and channels are whole vectors of any type: a road of its own on a
    // card.
    let shapes = [[3, 5, 7, 9], [4, 6, 13], [2, 3, 5, 3, 4], [3, 17, 4, 4], [4, 16, 6, 8]]
    var cases: [LayerCase] = []
    for statistics in LayerCase.Statistics.allCases {
      for plain in Activation.all {
        for activation in numbers[plain]?.map({ plain.with(alpha: $0) }) ?? [plain] {
          // Apart the activation is an operator of its own: one kind of statistics is enough.
          if !isInPlace, statistics != .train, activation != .relu { continue }
          let kind = isInPlace ? "" : "batch_norm "
          var layer = LayerCase(name: "\(kind)\(activation.shortName) \(statistics.rawValue)")
          layer.activation = activation
          layer.sizes = shapes[cases.count % shapes.count]
          layer.statistics = statistics
          layer.isInPlace = isInPlace
          if !isInPlace, activation != .relu { layer.dtypes = [.float32, .bfloat16] }
          cases.append(layer)
        }
      }
    }
    return cases
  }

  private static func shapes() -> [LayerCase] {
    let shapes = [
      [12, 5], [2, 1, 1, 2], [130, 3], [7, 1], [2, 300, 3], [1, 2, 31, 33], [5, 64, 8, 8],
      [33, 7, 1, 5], [2, 2, 2, 2, 2], [2, 5, 129, 67], [8, 19, 57, 61],
    ]
    return shapes.flatMap { sizes in
      [Activation.leakyReLU(slope: 0.01), .elu()].map { activation in
        var layer = LayerCase(name: "\(activation.shortName) of \(Shape(sizes).text)")
        layer.activation = activation
        layer.sizes = sizes
        layer.dtypes = [.float32, .bfloat16]
        return layer
      }
    }
  }

  /// Scales and biases for which z does not tell x: the layer keeps x where it has to.
  private static func parameters() -> [LayerCase] {
    let mixedScales = [1, 0.5, -0.7, 0, 1e-6, 0.03, -1.3]
    let mixedBiases = [0, 0.1, 0.3, 0.5, 0.5, -6, -0.4]
    let given: [(String, @Sendable (Int) -> (scale: Double, bias: Double))] = [
      ("scale < 0", { (-1 - 0.1 * Double($0), 0.2) }),
      ("scale 0", { (0, 0.1 * Double($0)) }),
      ("scale -0 in one channel", { ($0 == 2 ? -0.0 : 1, 0.3) }),
      ("scale 1e-6", { (1e-6, 0.5 - 0.3 * Double($0)) }),
      ("bias 7", { (1 - 0.3 * Double($0), $0 % 2 == 0 ? 7 : -7) }),
      ("bias 1e4", { (1, $0 % 2 == 0 ? 1e4 : -1e4) }),
      ("some rescued", { (mixedScales[$0 % 7], mixedBiases[$0 % 7]) }),
    ]
    return given.flatMap { name, parameters in
      [Activation.identity, .leakyReLU(slope: 0.2), .elu(), .relu].flatMap { activation in
        LayerCase.Statistics.allCases.filter { $0 != .test }.map { statistics in
          var layer = LayerCase(
            name: "\(name), \(activation.shortName) \(statistics.rawValue)")
          layer.activation = activation
          layer.sizes = [4, 8, 6, 11]
          layer.statistics = statistics
          layer.parameters = parameters
          layer.dtypes = [.float32, .bfloat16]
          return layer
        }
      }
    }
  }

  /// Elements that are hard on sums.
  private static func elements() -> [LayerCase] {
    let given: [(String, [DType], @Sendable (Int, Int, Double) -> Double)] = [
      // Not in float64, where the reference loses as much.
      ("mean 1e5", [.float32], { _, _, number in 1e5 + number }),
      ("constant channels", [.float32, .bfloat16], { c, _, number in c % 2 == 0 ? 0.7 : number }),
      (
        "NaN in one channel", [.float32, .bfloat16, .float16],
        { c, index, number in c == 1 && index % 17 == 5 ? .nan : number }
      ),
      (
        "infinity in one channel", [.float32, .bfloat16, .float16],
        { c, index, number in c == 2 && index % 19 == 7 ? -.infinity : number }
      ),
      ("deviation 1e-3", [.float32], { _, _, number in 1e-3 * number }),
      ("one outlier", [.float32, .bfloat16], { _, index, number in index == 40 ? 300 : number }),
    ]
    return given.flatMap { name, dtypes, element in
      [Activation.leakyReLU(slope: 0.2), .elu(), .swish].flatMap { activation in
        [[3, 5, 7, 9], [4, 8, 6, 16]].map { sizes in
          var layer = LayerCase(name: "\(name), \(activation.shortName), \(Shape(sizes).text)")
          layer.activation = activation
          layer.element = element
          layer.dtypes = dtypes
          layer.sizes = sizes
          return layer
        }
      }
    }
  }

  private static func neighbours() -> [LayerCase] {
    var residual = LayerCase(name: "identity, sum with x, leaky_relu", activation: .identity)
    residual.isResidual = true
    residual.sizes = [3, 6, 8, 5]
    var global = residual
    global.name += ", global"
    global.statistics = .global
    var rescued = residual
    rescued.name += ", some rescued"
    rescued.parameters = { $0 % 2 == 0 ? (1e-6, 0.5) : (0.8, 0.1) }
    rescued.dtypes = [.float32, .bfloat16]
    var momentum = LayerCase(name: "momentum by a variable")
    momentum.momentum = 0.5
    momentum.dtypes = [.float32, .bfloat16]
    var apart = momentum
    apart.name = "batch_norm momentum by a variable"
    apart.isInPlace = false
    return [residual, global, rescued, momentum, apart]
  }
}

extension Activation {
  /// `elu(0.5)`.
  var shortName: String { alpha.map { "\(name)(\($0.text))" } ?? name }
}

extension Double {
  /// Whole numbers without a point.
  var text: String { self == rounded() && magnitude < 1e6 ? "\(Int(self))" : "\(self)" }
}

extension Shape {
  /// `3x5x7`.
  var text: String { dimensions.map(String.init).joined(separator: "x") }
}
