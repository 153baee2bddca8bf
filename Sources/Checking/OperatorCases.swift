import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors

/// A layer function over inputs, and the types that it is checked in.
struct OperatorSpec: Sendable {
  let name: String
  let inputs: [CheckInput]
  /// Of float32, in units of rounding: sums, of up to a few hundred terms, and functions that cross
  /// 0.
  var units = 64.0
  /// Of 16 bits: a value is rounded a few times on its way.
  var narrowUnits = 8.0
  var dtypes: [DType] = [.float32, .bfloat16]
  /// See `CheckCase`.
  var needsExactProducts = false
  let build: @Sendable ([Variable]) throws -> [Variable]

  init(
    _ name: String, _ inputs: [CheckInput], units: Double = 64,
    dtypes: [DType] = [.float32, .bfloat16],
    build: @escaping @Sendable ([Variable]) throws -> [Variable]
  ) {
    self.name = name
    self.inputs = inputs
    self.units = units
    self.dtypes = dtypes
    self.build = build
  }

  func cases() -> [CheckCase] {
    dtypes.map { dtype in
      let bound = CheckBound(
        (dtype.isNarrow ? narrowUnits : units) * dtype.unitOfRounding)
      return CheckCase(
        .operations, name, dtype, bound: bound, needsExactProducts: needsExactProducts
      ) {
        try CheckProgram(inputs, $0, build: build)
      }
    }
  }
}

extension CheckCase {
  static func operatorCases() -> [CheckCase] {
    (elementwise() + functions() + reductions() + shaping() + losses() + images()
      + convolutions() + products()).flatMap { $0.cases() } + updateCases()
  }

  private static let allTypes: [DType] = [.float32, .bfloat16, .float16, .float64]

  private static func elementwise() -> [OperatorSpec] {
    let (row, table) = (CheckInput.random([5]), CheckInput.random([7, 5]))
    let positive = CheckInput.random([7, 5], 0.5, 2)
    let images: [CheckInput] = [.random([3, 5, 7, 9]), .random([5])]
    return [
      OperatorSpec("add", [table, table], dtypes: allTypes) {
        [try elementwiseAdd($0[0], $0[1])]
      },
      OperatorSpec("add a row", [table, row]) { [try elementwiseAdd($0[0], $0[1])] },
      OperatorSpec("add channels", images) { [try elementwiseAdd($0[0], $0[1], axis: 1)] },
      OperatorSpec("add, both broadcast", [.random([2, 1, 4]), .random([3, 1])]) {
        [try elementwiseAdd($0[0], $0[1])]
      },
      OperatorSpec("add and relu", [table, table]) {
        [try elementwiseAdd($0[0], $0[1], act: .relu)]
      },
      OperatorSpec("subtract", [table, .random([7, 1])], dtypes: allTypes) {
        [try elementwiseSub($0[0], $0[1])]
      },
      OperatorSpec("multiply", [table, table], dtypes: allTypes) {
        [try elementwiseMul($0[0], $0[1])]
      },
      OperatorSpec("multiply channels", images) { [try elementwiseMul($0[0], $0[1], axis: 1)] },
      OperatorSpec("multiply by itself", [table]) { [try elementwiseMul($0[0], $0[0])] },
      OperatorSpec(
        "multiply by a number a picture", [.random([3, 4, 5, 6]), .random([3, 4, 1, 1])]
      ) { [try elementwiseMul($0[0], $0[1])] },
      OperatorSpec("divide", [table, positive], dtypes: allTypes) {
        [try elementwiseDiv($0[0], $0[1])]
      },
      OperatorSpec("divide by a number", [table, .random([1], 0.5, 2)]) {
        [try elementwiseDiv($0[0], $0[1])]
      },
      OperatorSpec("sum of 3", [table, table, table], dtypes: allTypes) { [try sums($0)] },
      OperatorSpec("scale", [table], dtypes: allTypes) {
        [try scale($0[0], factor: -1.5, bias: 0.25)]
      },
      OperatorSpec("a large sum", [.random([300, 1001]), .random([300, 1001])]) {
        [try elementwiseAdd($0[0], $0[1])]
      },
    ]
  }

  private static func functions() -> [OperatorSpec] {
    let x = CheckInput.random([6, 5, 7], -6, 6)
    let positive = CheckInput.random([6, 35], 0.25, 4)
    let numbers: [Activation: [Double]] = [.leakyReLU(): [0.2, 0, -0.5], .elu(): [1, 1.3, -0.5]]
    let activations = Activation.all.filter { $0 != .prelu && $0 != .identity }.flatMap { plain in
      (numbers[plain]?.map { plain.with(alpha: $0) } ?? [plain]).map { activation in
        OperatorSpec(activation.shortName, [x], dtypes: allTypes) {
          [try ABNLayers.activation($0[0], activation)]
        }
      }
    }
    return activations + [
      OperatorSpec("tanh of leaky_relu of sigmoid", [x]) {
        [try tanh(leakyReLU(sigmoid($0[0])))]
      },
      OperatorSpec("prelu, one slope", [x]) { [try prelu($0[0])] },
      OperatorSpec("prelu, a slope a channel", [x]) { [try prelu($0[0], mode: .channel)] },
      OperatorSpec("prelu, a slope an element", [x]) { [try prelu($0[0], mode: .element)] },
      OperatorSpec("square", [x], dtypes: allTypes) { [try square($0[0])] },
      OperatorSpec("abs", [x]) { [try abs($0[0])] },
      OperatorSpec("exp", [.random([6, 35])], dtypes: allTypes) { [try exp($0[0])] },
      OperatorSpec("sqrt", [positive], dtypes: allTypes) { [try sqrt($0[0])] },
      OperatorSpec("log", [positive], dtypes: allTypes) { [try log($0[0])] },
      OperatorSpec("dropout", [.random([9, 301])]) { [try dropout($0[0], probability: 0.4)] },
      OperatorSpec("dropout, scaled in training", [.random([9, 301])]) {
        [try dropout($0[0], probability: 0.2, implementation: .upscaleInTrain)]
      },
      OperatorSpec("cast to float64 and back", [x]) {
        [try cast(cast($0[0], to: .float64), to: $0[0].dtype)]
      },
      OperatorSpec("cast to int32", [x]) {
        [try cast($0[0], to: .int32), try scale($0[0], factor: 2)]
      },
    ]
  }

  private static func reductions() -> [OperatorSpec] {
    let x = CheckInput.random([3, 70, 5])
    return [
      OperatorSpec("mean", [x], dtypes: allTypes) { [try mean($0[0])] },
      OperatorSpec("reduce_sum, outer", [x]) { [try reduceSum($0[0], axes: [0])] },
      OperatorSpec("reduce_sum, around", [x]) { [try reduceSum($0[0], axes: [0, 2])] },
      OperatorSpec("reduce_mean, middle", [x]) {
        [try reduceMean($0[0], axes: [1], keepDimensions: true)]
      },
      OperatorSpec("reduce_mean, last", [.random([3, 4, 1300])]) {
        [try reduceMean($0[0], axes: [-1])]
      },
      OperatorSpec("reduce_sum of 1e5", [.random([100_003])]) { [try reduceSum($0[0])] },
    ]
  }

  private static func shaping() -> [OperatorSpec] {
    let x = CheckInput.random([4, 6, 5, 3])
    return [
      OperatorSpec("concat channels", [x, .random([4, 3, 5, 3])], dtypes: allTypes) {
        [try concat($0, axis: 1)]
      },
      OperatorSpec("concat the last axis", [x, .random([4, 6, 5, 2]), x]) {
        [try concat($0, axis: -1)]
      },
      OperatorSpec("split in 3", [x]) { try split($0[0], 3, axis: 1) },
      OperatorSpec("split in 1 and 5", [x]) { try split($0[0], [1, 5], axis: 1) },
      OperatorSpec("reshape", [x]) { [try reshape($0[0], [4, -1])] },
      OperatorSpec("flatten", [x]) { [try flatten($0[0])] },
      OperatorSpec("transpose", [x], dtypes: allTypes) { [try transpose($0[0], [0, 2, 3, 1])] },
      OperatorSpec("transpose a table", [.random([70, 67])]) { [try transpose($0[0], [1, 0])] },
      OperatorSpec("slice", [x]) {
        [try slice($0[0], axes: [1, 2], starts: [1, -3], ends: [5, 4])]
      },
      OperatorSpec("pad", [x]) { [try pad($0[0], [0, 1, 2, 0, 1, 1, 0, 3], value: 0.5)] },
      OperatorSpec("pad2d NHWC", [x]) {
        [try pad2d($0[0], [1, 2, 0, 3], dataLayout: .nhwc)]
      },
      OperatorSpec("assign", [x]) { [try assign($0[0])] },
    ]
  }

  private static func losses() -> [OperatorSpec] {
    let logits = CheckInput.random([6, 11], -4, 4)
    let labels = CheckInput.fixed(Tensor((0..<6).map { Int64($0 * 7 % 11) }, shape: [6, 1]))
    let ignored = CheckInput.fixed(
      Tensor((0..<6).map { Int64($0 == 2 ? -100 : $0 * 3 % 11) }, shape: [6, 1]))
    let maps = CheckInput.fixed(
      Tensor((0..<24).map { Int64($0 * 7 % 5) }, shape: [2, 1, 3, 4]))
    return [
      OperatorSpec("softmax", [logits], dtypes: allTypes) { [try softmax($0[0])] },
      OperatorSpec("softmax over channels", [.random([2, 5, 3, 4], -4, 4)]) {
        [try softmax($0[0], axis: 1)]
      },
      OperatorSpec("softmax of 1e3", [.random([3, 1037], -9, 9)]) { [try softmax($0[0])] },
      OperatorSpec("cross entropy", [logits, labels], dtypes: [.float32, .float64, .bfloat16]) {
        [try softmaxWithCrossEntropy($0[0], $0[1])]
      },
      OperatorSpec("cross entropy, a row ignored", [logits, ignored]) {
        [try softmaxWithCrossEntropy($0[0], $0[1])]
      },
      OperatorSpec("cross entropy, axis 1", [.random([2, 5, 3, 4], -4, 4), maps]) {
        [try softmaxWithCrossEntropy($0[0], $0[1], axis: 1)]
      },
      OperatorSpec("cross entropy, weighted classes", [.random([2, 5, 3, 4], -4, 4), maps]) {
        [
          try segmentationLoss(
            logits: $0[0], labels: $0[1], ignoreIndex: 3, classWeights: [1, 0.5, 2, 1, 0])
        ]
      },
      OperatorSpec(
        "cross entropy, soft labels", [logits, .random([6, 11], 0, 0.2, differentiated: false)]
      ) { [try softmaxWithCrossEntropy($0[0], $0[1], softLabel: true)] },
      OperatorSpec("cross entropy and softmax", [logits, labels]) {
        let both = try softmaxAndCrossEntropy($0[0], $0[1])
        return [both.loss, both.softmax]
      },
      OperatorSpec("square error", [logits, logits]) { [try squareErrorCost($0[0], $0[1])] },
      OperatorSpec("mse", [logits, .random([6, 11])]) { [try mseLoss($0[0], $0[1])] },
      OperatorSpec("accuracy of the first 2", [logits, labels], dtypes: [.float32]) {
        [try accuracy($0[0], $0[1], k: 2), try scale($0[0], factor: 2)]
      },
    ]
  }

  private static func images() -> [OperatorSpec] {
    let x = CheckInput.random([2, 5, 9, 11])
    var specs: [OperatorSpec] = []
    for layout in DataLayout.allCases {
      for type in [PoolType.max, .average] {
        let name = "\(type == .max ? "max" : "average") pool \(layout.rawValue)"
        specs += [
          OperatorSpec(
            "\(name) 3/2", [x], dtypes: type == .max ? allTypes : [.float32, .bfloat16]
          ) {
            [
              try pool2d(
                $0[0], poolSize: 3, poolType: type, poolStride: 2, poolPadding: 1,
                dataLayout: layout)
            ]
          },
          OperatorSpec("\(name) 2/2, rounded up", [x]) {
            [
              try pool2d(
                $0[0], poolSize: 2, poolType: type, poolStride: 2, ceilMode: true,
                dataLayout: layout)
            ]
          },
          OperatorSpec("\(name) global", [x]) {
            [try pool2d($0[0], poolType: type, globalPooling: true, dataLayout: layout)]
          },
          OperatorSpec("\(name) adaptive", [x]) {
            [try adaptivePool2d($0[0], poolSize: [3, 2], poolType: type, dataLayout: layout)]
          },
        ]
      }
      specs += [
        OperatorSpec("bilinear \(layout.rawValue)", [x]) {
          [try resizeBilinear($0[0], outShape: [13, 7], dataLayout: layout)]
        },
        OperatorSpec("bilinear x2, corners apart \(layout.rawValue)", [x]) {
          [
            try resizeBilinear(
              $0[0], scale: 2, alignCorners: false, alignMode: 0, dataLayout: layout)
          ]
        },
        OperatorSpec("nearest \(layout.rawValue)", [x]) {
          [try resizeNearest($0[0], outShape: [18, 5], dataLayout: layout)]
        },
      ]
    }
    return specs
  }
}
