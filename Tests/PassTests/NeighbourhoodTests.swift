import ABNChecking
import ABNGraph
import ABNTensors
import InPlaceABN
import Testing

/// Every operator that a user can put beside the layer: before it, after it, and as a second reader
/// of its input, earlier and later in the program; against the layer out of place, in float64.
@Suite struct NeighbourhoodTests {
  /// An operator on x [3, 4, 4, 4] (`y` another of that shape); what it gives may have any shape.
  struct Neighbour: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let apply: @Sendable (Variable, Variable) throws -> Variable

    init(_ name: String, _ apply: @escaping @Sendable (Variable, Variable) throws -> Variable) {
      testDescription = name
      self.apply = apply
    }
  }

  static func labels() throws -> Variable {
    try cast(scale(data("w70", shape: [3, 1], dtype: .float64), factor: 0, bias: 2), to: .int64)
  }

  static let activations: [Neighbour] = Activation.all.flatMap { act -> [Neighbour] in
    if act == .prelu { return [] }
    return [0.2, -0.5].map { alpha in
      Neighbour("\(act.name) \(alpha)") { x, _ in try activation(x, act.with(alpha: alpha)) }
    }
  }

  static let others: [Neighbour] = [
    Neighbour("prelu") { x, _ in try prelu(x, mode: .channel, paramAttr: "slopes") },
    Neighbour("conv2d") { x, _ in try conv2d(x, numFilters: 4, filterSize: 3, padding: 1) },
    Neighbour("fc") { x, _ in try fc(x, size: 4) },
    Neighbour("max pool") { x, _ in try pool2d(x, poolSize: 3, poolPadding: 1) },
    Neighbour("average pool") { x, _ in try pool2d(x, poolSize: 2, poolType: .average) },
    Neighbour("adaptive pool") { x, _ in try adaptivePool2d(x, poolSize: 2) },
    Neighbour("add") { x, y in try elementwiseAdd(x, y) },
    Neighbour("add itself") { x, _ in try elementwiseAdd(x, x) },
    Neighbour("sub") { x, y in try elementwiseSub(y, x) },
    Neighbour("mul") { x, y in try elementwiseMul(x, y) },
    Neighbour("mul itself") { x, _ in try elementwiseMul(x, x) },
    Neighbour("div") { x, y in try elementwiseDiv(x, scale(y, bias: 9)) },
    Neighbour("divisor") { x, y in try elementwiseDiv(y, scale(square(x), bias: 1)) },
    Neighbour("sum of three") { x, y in try sums([x, y, x]) },
    Neighbour("scale") { x, _ in try scale(x, factor: -2, bias: 0.5) },
    Neighbour("square") { x, _ in try square(x) },
    Neighbour("exp") { x, _ in try exp(x) },
    Neighbour("sqrt") { x, _ in try sqrt(scale(square(x), bias: 0.1)) },
    Neighbour("log") { x, _ in try log(scale(square(x), bias: 0.1)) },
    Neighbour("abs") { x, _ in try abs(x) },
    Neighbour("assign") { x, _ in try assign(x) },
    Neighbour("cast") { x, _ in try cast(cast(x, to: .float64), to: .float64) },
    Neighbour("reshape") { x, _ in try reshape(x, [3, 4, 2, 8]) },
    Neighbour("flatten") { x, _ in try flatten(x, axis: 2) },
    Neighbour("transpose") { x, _ in try transpose(x, [0, 1, 3, 2]) },
    Neighbour("slice") { x, _ in try slice(x, axes: [2], starts: [1], ends: [4]) },
    Neighbour("pad") { x, _ in try pad2d(x, [1, 0, 0, 1]) },
    Neighbour("concat") { x, y in try concat([x, y], axis: 1) },
    Neighbour("split") { x, _ in try split(x, 2, axis: 2)[1] },
    Neighbour("resize bilinear") { x, _ in try resizeBilinear(x, outShape: [6, 5]) },
    Neighbour("resize nearest") { x, _ in try resizeNearest(x, outShape: [6, 5]) },
    Neighbour("softmax") { x, _ in try softmax(x, axis: 1) },
    Neighbour("reduce mean") { x, _ in try reduceMean(x, axes: [3], keepDimensions: true) },
    Neighbour("reduce sum") { x, _ in try reduceSum(x, axes: [2], keepDimensions: true) },
    Neighbour("dropout") { x, _ in try dropout(x, probability: 0.4, seed: 3) },
    Neighbour("squared error") { x, y in try squareErrorCost(x, y) },
    Neighbour("batch norm") { x, _ in try batchNorm(x, name: "neighbour") },
    Neighbour("cross entropy") { x, _ in
      try softmaxWithCrossEntropy(fc(x, size: 5), labels())
    },
    Neighbour("segmentation losses") { x, y in
      let twos = try scale(slice(y, axes: [1], starts: [0], ends: [1]), factor: 0, bias: 2)
      let loss = try segmentationLoss(
        logits: x, labels: cast(twos, to: .int64),
        kind: .crossEntropy + .dice + .lovasz, classWeights: [1, 0.5, 2, 3])
      return try elementwiseMul(x, loss)
    },
  ]

  static let neighbours = activations + others

  /// Where the neighbour stands.
  enum Place: String, CaseIterable, Sendable {
    case before, after, beforeAndAfter, besideEarlier, besideLater, besideLaterOfResult
  }

  /// The layers with which every neighbour meets: one of each way to store.
  static let layers: [Layer] = [
    Layer(act: .identity, alpha: 1), Layer(act: .leakyReLU(), alpha: 0.2),
    Layer(act: .elu(), alpha: 1),
    Layer(act: .prelu, alpha: 1), Layer(act: .swish, alpha: 1),
  ]

  struct Layer: Sendable {
    let act: Activation
    let alpha: Double
  }

  static func run(
    _ neighbour: Neighbour, _ place: Place, _ layer: Layer,
    inPlace: Bool
  ) throws -> Comparison.Results {
    let passes = inPlace ? memoryPasses + trainingPasses : []
    return try Comparison(inPlace: inPlace, passes: passes).run(shape: [3, 4, 4, 4]) { x in
      func abn(_ x: Variable) throws -> Variable {
        let channels = x.shape[1]
        let scales = (0..<channels).map { [0.7, -1.2, 0, 1e-6][$0 % 4] }
        let biases = (0..<channels).map { [0.1, -0.3, 0.4, 0.5][$0 % 4] }
        return try RandomGraph.normalized(
          x, layer.act, alpha: layer.alpha, name: "abn",
          scale: Tensor(scales, shape: [channels]), bias: Tensor(biases, shape: [channels]),
          inPlace: inPlace)
      }
      let y = try tanh(x)
      // A convolution whose result nothing else needs: the layer likes to overwrite it.
      let h = try conv2d(x, numFilters: 4, filterSize: 3, padding: 1, biasAttr: .absent)
      switch place {
      case .before: return ([try square(abn(neighbour.apply(h, y)))], [])
      case .after: return ([try square(neighbour.apply(abn(h), y))], [])
      case .beforeAndAfter:
        let middle = try abn(conv2d(neighbour.apply(h, y), numFilters: 4, filterSize: 1))
        return ([try neighbour.apply(elementwiseAdd(middle, h), y)], [])
      case .besideEarlier:
        let beside = try neighbour.apply(h, y)
        return ([beside, try square(abn(h))], [])
      case .besideLater:
        let z = try abn(h)
        return ([try neighbour.apply(h, y), try square(z)], [])
      case .besideLaterOfResult:
        let z = try abn(h)
        return ([try neighbour.apply(h, scale(z, factor: 0.5)), try square(z)], [])
      }
    }
  }

  /// What the neighbour gives must be something that the layer takes, or that can follow it.
  static func isPossible(_ neighbour: Neighbour, _ place: Place) -> Bool {
    switch (neighbour.testDescription, place) {
    // One number a row: nothing to normalize, or no image for the convolution.
    case ("cross entropy", .before), ("cross entropy", .beforeAndAfter): false
    case ("fc", .beforeAndAfter), ("flatten", .beforeAndAfter): false
    case ("average pool", .beforeAndAfter), ("adaptive pool", .beforeAndAfter): false
    case ("reshape", .beforeAndAfter), ("slice", .beforeAndAfter), ("pad", .beforeAndAfter): false
    case ("split", .beforeAndAfter), ("resize bilinear", .beforeAndAfter): false
    case ("resize nearest", .beforeAndAfter): false
    case ("reduce mean", .beforeAndAfter), ("reduce sum", .beforeAndAfter): false
    // Two layers of one name would share parameters; two dropouts do not draw alike here.
    case ("batch norm", .beforeAndAfter): false
    default: true
    }
  }

  @Test(arguments: neighbours) func sameAsOutOfPlace(_ neighbour: Neighbour) throws {
    for place in Place.allCases where Self.isPossible(neighbour, place) {
      for layer in Self.layers {
        let got = try Self.run(neighbour, place, layer, inPlace: true)
        let wanted = try Self.run(neighbour, place, layer, inPlace: false)
        let difference = Comparison.difference(got, wanted)
        #expect(difference == nil, "\(neighbour.testDescription), \(place), \(layer)")
      }
    }
  }

  /// Every kind of the catalogue that a layer function appends is among the neighbours.
  @Test func nothingIsLeftOut() throws {
    var seen = Set<String>()
    for neighbour in Self.neighbours {
      seen.formUnion(try Self.run(neighbour, .after, Self.layers[1], inPlace: true).kinds)
    }
    // Updates, metrics, schedules and initializers do not stand beside a layer; the kinds that
    // passes make are in the other tests of this room.
    let elsewhere: Set<String> = [
      "accuracy", "adam", "apply_average", "assign_value", "average_accumulates", "clip_scale",
      "increment", "momentum", "random_fill", "restore_parameter", "scheduled_value", "sgd",
      "squared_norm", "masked_activate", "masked_activate_grad", "residual_sum", "residual_term",
      "inplace_abn_restore", "conv2d_fusion", "fold_batch_norm", "activate_grad_of_sum",
      "inplace_abn_act", "lamb", "exponential_average", "apply_exponential_average",
      "accumulate_gradient", "mean_gradient",
    ]
    let missing = operationCatalogue.map { $0.kindName }.filter {
      !seen.contains($0) && !elsewhere.contains($0)
    }
    #expect(missing.isEmpty, "\(missing)")
  }
}
