import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperations
import ABNTensors

/// A layer function over inputs, and the types that it is checked in.
struct OperationSpec: Sendable {
  let name: String
  let inputs: [CheckInput]
  /// Of float32, in units of rounding: sums, of up to a few hundred terms, and functions that cross 0.
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
  static func operationCases() -> [CheckCase] {
    (elementwise() + functions() + reductions() + shaping() + losses() + images()
      + convolutions() + products()).flatMap { $0.cases() } + updateCases()
  }

  private static let allTypes: [DType] = [.float32, .bfloat16, .float16, .float64]

  private static func elementwise() -> [OperationSpec] {
    let (row, table) = (CheckInput.random([5]), CheckInput.random([7, 5]))
    let positive = CheckInput.random([7, 5], 0.5, 2)
    let images: [CheckInput] = [.random([3, 5, 7, 9]), .random([5])]
    return [
      OperationSpec("add", [table, table], dtypes: allTypes) {
        [try elementwiseAdd($0[0], $0[1])]
      },
      OperationSpec("add a row", [table, row]) { [try elementwiseAdd($0[0], $0[1])] },
      OperationSpec("add channels", images) { [try elementwiseAdd($0[0], $0[1], axis: 1)] },
      OperationSpec("add, both broadcast", [.random([2, 1, 4]), .random([3, 1])]) {
        [try elementwiseAdd($0[0], $0[1])]
      },
      OperationSpec("add and relu", [table, table]) {
        [try elementwiseAdd($0[0], $0[1], act: .relu)]
      },
      OperationSpec("subtract", [table, .random([7, 1])], dtypes: allTypes) {
        [try elementwiseSub($0[0], $0[1])]
      },
      OperationSpec("multiply", [table, table], dtypes: allTypes) {
        [try elementwiseMul($0[0], $0[1])]
      },
      OperationSpec("multiply channels", images) { [try elementwiseMul($0[0], $0[1], axis: 1)] },
      OperationSpec("multiply by itself", [table]) { [try elementwiseMul($0[0], $0[0])] },
      OperationSpec(
        "multiply by a number a picture", [.random([3, 4, 5, 6]), .random([3, 4, 1, 1])]
      ) { [try elementwiseMul($0[0], $0[1])] },
      OperationSpec("divide", [table, positive], dtypes: allTypes) {
        [try elementwiseDiv($0[0], $0[1])]
      },
      OperationSpec("divide by a number", [table, .random([1], 0.5, 2)]) {
        [try elementwiseDiv($0[0], $0[1])]
      },
      OperationSpec("sum of 3", [table, table, table], dtypes: allTypes) { [try sums($0)] },
      OperationSpec("scale", [table], dtypes: allTypes) {
        [try scale($0[0], factor: -1.5, bias: 0.25)]
      },
      OperationSpec("a large sum", [.random([300, 1001]), .random([300, 1001])]) {
        [try elementwiseAdd($0[0], $0[1])]
      },
    ]
  }

  private static func functions() -> [OperationSpec] {
    let x = CheckInput.random([6, 5, 7], -6, 6)
    let positive = CheckInput.random([6, 35], 0.25, 4)
    let numbers: [Activation: [Double]] = [.leakyReLU(): [0.2, 0, -0.5], .elu(): [1, 1.3, -0.5]]
    let activations = Activation.all.filter { $0 != .prelu && $0 != .identity }.flatMap { plain in
      (numbers[plain]?.map { plain.with(alpha: $0) } ?? [plain]).map { activation in
        OperationSpec(activation.shortName, [x], dtypes: allTypes) {
          [try ABNLayers.activation($0[0], activation)]
        }
      }
    }
    return activations + [
      OperationSpec("tanh of leaky_relu of sigmoid", [x]) {
        [try tanh(leakyReLU(sigmoid($0[0])))]
      },
      OperationSpec("prelu, one slope", [x]) { [try prelu($0[0])] },
      OperationSpec("prelu, a slope a channel", [x]) { [try prelu($0[0], mode: .channel)] },
      OperationSpec("prelu, a slope an element", [x]) { [try prelu($0[0], mode: .element)] },
      OperationSpec("square", [x], dtypes: allTypes) { [try square($0[0])] },
      OperationSpec("abs", [x]) { [try abs($0[0])] },
      OperationSpec("exp", [.random([6, 35])], dtypes: allTypes) { [try exp($0[0])] },
      OperationSpec("sqrt", [positive], dtypes: allTypes) { [try sqrt($0[0])] },
      OperationSpec("log", [positive], dtypes: allTypes) { [try log($0[0])] },
      OperationSpec("dropout", [.random([9, 301])]) { [try dropout($0[0], probability: 0.4)] },
      OperationSpec("dropout, scaled in training", [.random([9, 301])]) {
        [try dropout($0[0], probability: 0.2, implementation: .upscaleInTrain)]
      },
      OperationSpec("cast to float64 and back", [x]) {
        [try cast(cast($0[0], to: .float64), to: $0[0].dtype)]
      },
      OperationSpec("cast to int32", [x]) {
        [try cast($0[0], to: .int32), try scale($0[0], factor: 2)]
      },
    ]
  }

  private static func reductions() -> [OperationSpec] {
    let x = CheckInput.random([3, 70, 5])
    return [
      OperationSpec("mean", [x], dtypes: allTypes) { [try mean($0[0])] },
      OperationSpec("reduce_sum, outer", [x]) { [try reduceSum($0[0], axes: [0])] },
      OperationSpec("reduce_sum, around", [x]) { [try reduceSum($0[0], axes: [0, 2])] },
      OperationSpec("reduce_mean, middle", [x]) {
        [try reduceMean($0[0], axes: [1], keepDimensions: true)]
      },
      OperationSpec("reduce_mean, last", [.random([3, 4, 1300])]) {
        [try reduceMean($0[0], axes: [-1])]
      },
      OperationSpec("reduce_sum of 1e5", [.random([100_003])]) { [try reduceSum($0[0])] },
    ]
  }

  private static func shaping() -> [OperationSpec] {
    let x = CheckInput.random([4, 6, 5, 3])
    return [
      OperationSpec("concat channels", [x, .random([4, 3, 5, 3])], dtypes: allTypes) {
        [try concat($0, axis: 1)]
      },
      OperationSpec("concat the last axis", [x, .random([4, 6, 5, 2]), x]) {
        [try concat($0, axis: -1)]
      },
      OperationSpec("split in 3", [x]) { try split($0[0], 3, axis: 1) },
      OperationSpec("split in 1 and 5", [x]) { try split($0[0], [1, 5], axis: 1) },
      OperationSpec("reshape", [x]) { [try reshape($0[0], [4, -1])] },
      OperationSpec("flatten", [x]) { [try flatten($0[0])] },
      OperationSpec("transpose", [x], dtypes: allTypes) { [try transpose($0[0], [0, 2, 3, 1])] },
      OperationSpec("transpose a table", [.random([70, 67])]) { [try transpose($0[0], [1, 0])] },
      OperationSpec("slice", [x]) {
        [try slice($0[0], axes: [1, 2], starts: [1, -3], ends: [5, 4])]
      },
      OperationSpec("pad", [x]) { [try pad($0[0], [0, 1, 2, 0, 1, 1, 0, 3], value: 0.5)] },
      OperationSpec("pad2d NHWC", [x]) {
        [try pad2d($0[0], [1, 2, 0, 3], dataFormat: .nhwc)]
      },
      OperationSpec("assign", [x]) { [try assign($0[0])] },
    ]
  }

  private static func losses() -> [OperationSpec] {
    let logits = CheckInput.random([6, 11], -4, 4)
    let labels = CheckInput.fixed(Tensor((0..<6).map { Int64($0 * 7 % 11) }, shape: [6, 1]))
    let ignored = CheckInput.fixed(
      Tensor((0..<6).map { Int64($0 == 2 ? -100 : $0 * 3 % 11) }, shape: [6, 1]))
    let maps = CheckInput.fixed(
      Tensor((0..<24).map { Int64($0 * 7 % 5) }, shape: [2, 1, 3, 4]))
    return [
      OperationSpec("softmax", [logits], dtypes: allTypes) { [try softmax($0[0])] },
      OperationSpec("softmax over channels", [.random([2, 5, 3, 4], -4, 4)]) {
        [try softmax($0[0], axis: 1)]
      },
      OperationSpec("softmax of 1e3", [.random([3, 1037], -9, 9)]) { [try softmax($0[0])] },
      OperationSpec("cross entropy", [logits, labels], dtypes: [.float32, .float64, .bfloat16]) {
        [try softmaxWithCrossEntropy($0[0], $0[1])]
      },
      OperationSpec("cross entropy, a row ignored", [logits, ignored]) {
        [try softmaxWithCrossEntropy($0[0], $0[1])]
      },
      OperationSpec("cross entropy, axis 1", [.random([2, 5, 3, 4], -4, 4), maps]) {
        [try softmaxWithCrossEntropy($0[0], $0[1], axis: 1)]
      },
      OperationSpec(
        "cross entropy, soft labels", [logits, .random([6, 11], 0, 0.2, differentiated: false)]
      ) { [try softmaxWithCrossEntropy($0[0], $0[1], softLabel: true)] },
      OperationSpec("cross entropy and softmax", [logits, labels]) {
        let both = try softmaxAndCrossEntropy($0[0], $0[1])
        return [both.loss, both.softmax]
      },
      OperationSpec("square error", [logits, logits]) { [try squareErrorCost($0[0], $0[1])] },
      OperationSpec("mse", [logits, .random([6, 11])]) { [try mseLoss($0[0], $0[1])] },
      OperationSpec("accuracy of the first 2", [logits, labels], dtypes: [.float32]) {
        [try accuracy($0[0], $0[1], k: 2), try scale($0[0], factor: 2)]
      },
    ]
  }

  private static func images() -> [OperationSpec] {
    let x = CheckInput.random([2, 5, 9, 11])
    var specs: [OperationSpec] = []
    for layout in DataLayout.allCases {
      for type in [PoolType.max, .average] {
        let name = "\(type == .max ? "max" : "average") pool \(layout.rawValue)"
        specs += [
          OperationSpec(
            "\(name) 3/2", [x], dtypes: type == .max ? allTypes : [.float32, .bfloat16]
          ) {
            [
              try pool2d(
                $0[0], poolSize: 3, poolType: type, poolStride: 2, poolPadding: 1,
                dataLayout: layout)
            ]
          },
          OperationSpec("\(name) 2/2, rounded up", [x]) {
            [
              try pool2d(
                $0[0], poolSize: 2, poolType: type, poolStride: 2, ceilMode: true,
                dataLayout: layout)
            ]
          },
          OperationSpec("\(name) global", [x]) {
            [try pool2d($0[0], poolType: type, globalPooling: true, dataLayout: layout)]
          },
          OperationSpec("\(name) adaptive", [x]) {
            [try adaptivePool2d($0[0], poolSize: [3, 2], poolType: type, dataLayout: layout)]
          },
        ]
      }
      specs += [
        OperationSpec("bilinear \(layout.rawValue)", [x]) {
          [try resizeBilinear($0[0], outShape: [13, 7], dataFormat: layout)]
        },
        OperationSpec("bilinear x2, corners apart \(layout.rawValue)", [x]) {
          [
            try resizeBilinear(
              $0[0], scale: 2, alignCorners: false, alignMode: 0, dataFormat: layout)
          ]
        },
        OperationSpec("nearest \(layout.rawValue)", [x]) {
          [try resizeNearest($0[0], outShape: [18, 5], dataFormat: layout)]
        },
      ]
    }
    return specs
  }
}
