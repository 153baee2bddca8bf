import ABNActivations
import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport

// The rows of the table of special values: every operator that works on numbers, in every layout that it has.

let specialCases: [SpecialCase] =
  specialElementwise + specialActivations + specialSums + specialImages + specialLosses
  + specialMovements + specialNormalizations

private let two: Shape = [2, 20]

let specialElementwise: [SpecialCase] = [
  SpecialCase("add", [.any(two), .any(two)]) { [try elementwiseAdd($0[0], $0[1])] },
  SpecialCase("sub", [.any(two), .any(two)]) { [try elementwiseSub($0[0], $0[1])] },
  SpecialCase("mul", [.any(two), .any(two)]) { [try elementwiseMul($0[0], $0[1])] },
  SpecialCase("div", [.any(two), .any(two)]) { [try elementwiseDiv($0[0], $0[1])] },
  SpecialCase("add a row", [.any(two), .any([20])], stored: 3, measure: .magnitudes) {
    [try elementwiseAdd($0[0], $0[1])]
  },
  SpecialCase("mul channels", [.any([2, 3, 2, 2]), .any([3])], stored: 3, measure: .products) {
    [try elementwiseMul($0[0], $0[1], axis: 1)]
  },
  SpecialCase("div channels", [.any([2, 3, 2, 2]), .any([3])], stored: 3, measure: .products) {
    [try elementwiseDiv($0[0], $0[1], axis: 1)]
  },
  SpecialCase(
    "div into channels", [.any([3, 1, 1]), .any([2, 3, 2, 2])], stored: 3, measure: .products
  ) {
    [try elementwiseDiv($0[0], $0[1])]
  },
  SpecialCase("scale", [.any(two)]) { [try scale($0[0], factor: -1.5)] },
  SpecialCase("scale by 1e-30", [.any(two)]) { [try scale($0[0], factor: 1e-30)] },
  SpecialCase("scale by 1e60", [.any(two)]) { [try scale($0[0], factor: 1e60)] },
  SpecialCase("scale and bias", [.any(two)], measure: .magnitudes) {
    [try scale($0[0], factor: 2, bias: -3e38)]
  },
  SpecialCase("square", [.any(two)]) { [try square($0[0])] },
  SpecialCase("sqrt", [.any(two)], stored: 2.01) { [try sqrt($0[0])] },
  // float32 rounds x once more, in the exponent.
  SpecialCase("exp", [.any(two)], units: 8) { [try exp($0[0])] },
  SpecialCase("log", [.any(two)]) { [try log($0[0])] },
  SpecialCase("abs", [.any(two)]) { [try abs($0[0])] },
  SpecialCase("assign", [.any(two)]) { [try assign($0[0])] },
  SpecialCase("prelu", [.any(two), .any([1])], measure: .gradientProducts) {
    [try op(PReLU(), [$0[0], cast($0[1], to: $0[0].dtype.accumulation)])]
  },
  SpecialCase("prelu, a slope an element", [.any(two), .any(two)]) {
    [try op(PReLU(), [$0[0], cast($0[1], to: $0[0].dtype.accumulation)])]
  },
]

/// Activations alone, with the mask that a pass gives them, and with the sum that it puts into their gradient.
let specialActivations: [SpecialCase] =
  [
    (Activation.identity, 1.0, 2.0), (.relu, 1, 2), (.relu6, 1, 2), (.leakyReLU(), 0.02, 4),
    (.leakyReLU(), 0, 4), (.leakyReLU(), -0.5, 4), (.leakyReLU(), 3, 4), (.elu(), 1, 16),
    (.elu(), 0.3, 16),
    (.elu(), -0.5, 16), (.sigmoid, 1, 16), (.tanh, 1, 16), (.swish, 1, 32), (.hardSwish, 1, 32),
    (.mish, 1, 32), (.gelu, 1, 512),
  ].map { (act: Activation, alpha: Double, units: Double) in
    SpecialCase(
      "\(act) \(alpha)", [.any(two)], units: units, leastUnits: act == .gelu ? 32 : 4,
      measure: [.swish, .hardSwish, .mish, .gelu].contains(act) ? .curve : .value,
      vanishes: [.elu(), .sigmoid, .tanh, .swish, .gelu, .mish].contains(act)
    ) { [try activation($0[0], act.with(alpha: alpha))] }
  } + [
    SpecialCase("relu with mask", [.any(two)]) {
      [try op(MaskedActivate(Activate(.relu)), [$0[0]])]
    },
    SpecialCase("relu6 with mask", [.any(two)]) {
      [try op(MaskedActivate(Activate(.relu6)), [$0[0]])]
    },
    SpecialCase("leaky_relu with mask", [.any(two)]) {
      [try op(MaskedActivate(Activate(.leakyReLU())), [$0[0]])]
    },
    SpecialCase(
      "relu's gradient of a sum", [.any(two), .any(two), .any(two)], isDifferentiated: false
    ) { [try op(ActivateGradientOfSum(of: Activate(.relu))!, $0)] },
  ]

let specialSums: [SpecialCase] = [
  SpecialCase("sum of two", [.any(two), .any(two)], measure: .magnitudes) { [try sums($0)] },
  SpecialCase("sum of three", [.any(two), .any(two), .any(two)], measure: .magnitudes) {
    [try sums($0)]
  },
  SpecialCase(
    "sum of five", [.any(two), .any(two), .any(two), .any(two), .any(two)], measure: .magnitudes
  ) { [try sums($0)] },
  SpecialCase("mean", [.any([2, 3])], measure: .magnitudes) { [try mean($0[0])] },
  SpecialCase("reduce_sum, neighbours", [.any([20, 3])], measure: .magnitudes) {
    [try reduceSum($0[0], axes: [1])]
  },
  SpecialCase("reduce_sum, columns", [.any([3, 20])], measure: .magnitudes) {
    [try reduceSum($0[0], axes: [0])]
  },
  SpecialCase("reduce_mean, around", [.any([2, 20, 2])], measure: .magnitudes) {
    [try reduceMean($0[0], axes: [0, 2], keepDimensions: true)]
  },
  SpecialCase("reduce_mean, eight at a time", [.any([2, 10])], measure: .magnitudes) {
    [try reduceMean($0[0], axes: [1])]
  },
  SpecialCase("fc", [.any([3, 2]), .any([2, 4])], measure: .products) {
    [try op(Mul(numFlattenDims: 1), $0)]
  },
]

private let image: Shape = [1, 3, 4, 5]
private let rows: Shape = [1, 4, 5, 3]

/// A graph over an image in three layouts: channels second, last, and in blocks of 16 where float32 has them.
private func inLayouts(
  _ name: String, units: Double = 8, measure: SpecialCase.Measure,
  _ build: @escaping @Sendable (Variable, DataLayout) throws -> Variable
) -> [SpecialCase] {
  [
    SpecialCase(name, [.any(image)], units: units, measure: measure) { [try build($0[0], .nchw)] },
    SpecialCase("\(name), NHWC", [.any(rows)], units: units, measure: measure) {
      [try build($0[0], .nhwc)]
    },
    SpecialCase("\(name), blocked", [.any([1, 16, 4, 5])], units: units, measure: measure) {
      [try blocked(build(blocked($0[0]), .nchw))]
    },
  ]
}

let specialImages: [SpecialCase] =
  [PoolType.max, .average].flatMap { type -> [SpecialCase] in
    inLayouts("pool2d \(type.rawValue)", measure: .magnitudesOrValue(type)) {
      try pool2d($0, poolSize: 2, poolType: type, poolStride: 2, dataLayout: $1)
    }
      + inLayouts("padded pool2d \(type.rawValue)", measure: .magnitudesOrValue(type)) {
        try pool2d(
          $0, poolSize: 3, poolType: type, poolStride: 2, poolPadding: 1, dataLayout: $1)
      }
      + inLayouts("adaptive pool2d \(type.rawValue)", measure: .magnitudesOrValue(type)) {
        try adaptivePool2d($0, poolSize: [2, 5], poolType: type, dataLayout: $1)
      }
      + inLayouts("uneven pool2d \(type.rawValue)", measure: .magnitudesOrValue(type)) {
        try adaptivePool2d($0, poolSize: [3, 2], poolType: type, dataLayout: $1)
      }
      + inLayouts("global pool2d \(type.rawValue)", measure: .magnitudesOrValue(type)) {
        try pool2d($0, poolType: type, globalPooling: true, dataLayout: $1)
      }
  }
  + inLayouts("bilinear", measure: .magnitudes) {
    try resizeBilinear($0, outShape: [7, 3], dataLayout: $1)
  }
  + inLayouts("bilinear, pixels as areas", measure: .magnitudes) {
    try resizeBilinear($0, scale: 1.7, alignCorners: false, alignMode: 0, dataLayout: $1)
  }
  + inLayouts("nearest", measure: .magnitudes) {
    try resizeNearest($0, outShape: [7, 3], dataLayout: $1)
  }
  + [
    // Padding is zeros or nothing, as the algorithm likes: it must not meet what is not finite.
    SpecialCase(
      "conv2d", [.any(image), .moderate([2, 3, 3, 3])], measure: .products, anyGradient: false
    ) { [try op(Conv2D(window: Window2D(kernel: [3, 3], padding: 1)), $0)] },
    SpecialCase(
      "conv2d, NHWC", [.any(rows), .moderate([2, 3, 3, 3])], measure: .products,
      anyGradient: false
    ) {
      [
        try op(
          Conv2D(window: Window2D(kernel: [3, 3], padding: 1), layout: .nhwc), $0)
      ]
    },
    SpecialCase("conv2d of points", [.any(image), .any([2, 3, 1, 1])], measure: .products) {
      [try op(Conv2D(window: Window2D(kernel: [1, 1])), $0)]
    },
    SpecialCase("conv2d of blocks", [.any([1, 16, 3, 3])], measure: .products) {
      [try blocked(leakyReLU(blocked($0[0])))]
    },
    SpecialCase(
      "conv2d_fusion", [.any(image), .any([2, 3, 1, 1]), .any([2]), .any([1, 2, 4, 5])],
      measure: .products, isDifferentiated: false
    ) {
      let conv = try Conv2D(window: Window2D(kernel: [1, 1]))
      return [
        try op(
          Conv2DFusion(conv, hasResidual: true, activation: .leakyReLU(slope: 0.1))!, $0)
      ]
    },
  ]

extension SpecialCase.Measure {
  /// The gradients of windows that overlap are added.
  fileprivate static func magnitudesOrValue(_ type: PoolType) -> SpecialCase.Measure {
    type == .max ? .gradientProducts : .magnitudes
  }
}

private let labels = Tensor([Int64(0), 4, 2, -100], shape: [4, 1])
private let pixelLabels = Tensor([Int64(0), 2, 1, -100, 2, 0], shape: [1, 1, 2, 3])
private let shares = Tensor(
  [0.5, 0, 0.5, 0, 0, 0, 1, 0, 0, 0, 0.25, 0.25, 0.25, 0, 0.25, 0, 0, 0, 0.125, 0.875],
  shape: [4, 5])

let specialLosses: [SpecialCase] = [
  SpecialCase(
    "softmax", [.any([4, 5])], units: 256, stored: 4, measure: .largest, anyGradient: false
  ) {
    [try softmax($0[0])]
  },
  SpecialCase(
    "softmax, columns", [.any([5, 4])], units: 256, stored: 4, measure: .largest, anyGradient: false
  ) {
    [try softmax($0[0], axis: 0)]
  },
  SpecialCase(
    "softmax, a long line", [.any([2, 40])], units: 256, isDifferentiated: false
  ) { [try softmax($0[0])] },
  SpecialCase(
    "hard labels", [.any([4, 5]), .fixed(labels)], units: 256, stored: 4, anyGradient: false
  ) {
    let (loss, softmax) = try softmaxAndCrossEntropy($0[0], $0[1])
    return [loss, try scale(softmax, factor: 0)]
  },
  SpecialCase(
    "hard labels per pixel", [.any([1, 3, 2, 3]), .fixed(pixelLabels)], units: 256,
    stored: 4, anyGradient: false
  ) { [try softmaxWithCrossEntropy($0[0], $0[1], axis: 1)] },
  SpecialCase(
    "soft labels", [.any([4, 5]), .fixed(shares)], units: 256, stored: 4, measure: .largest,
    anyGradient: false
  ) { [try softmaxWithCrossEntropy($0[0], $0[1], softLabel: true)] },
  SpecialCase(
    "soft labels, columns", [.any([4, 5]), .fixed(shares)], units: 256, stored: 4,
    measure: .largest,
    anyGradient: false
  ) { [try softmaxWithCrossEntropy($0[0], $0[1], softLabel: true, axis: 0)] },
  SpecialCase("square_error_cost", [.any(two), .any(two)]) { [try squareErrorCost($0[0], $0[1])] },
  SpecialCase("accuracy", [.any([4, 5]), .fixed(labels)], isDifferentiated: false) {
    [try accuracy($0[0], $0[1], k: 2)]
  },
]

let specialMovements: [SpecialCase] =
  [DType.int8, .uint8, .int32, .int64, .bool].map { target in
    SpecialCase("cast to \(target)", [.any(two)], isDifferentiated: false) {
      [try cast($0[0], to: target)]
    }
  }
  + [DType.float16, .bfloat16, .float32].map { target in
    SpecialCase("cast to \(target)", [.any(two)]) { [try cast($0[0], to: target)] }
  } + [
    SpecialCase("dropout", [.any(two)]) { [try dropout($0[0], probability: 0.4, seed: 3)] },
    SpecialCase("dropout, upscaled", [.any(two)]) {
      [try dropout($0[0], probability: 0.4, seed: 3, implementation: .upscaleInTrain)]
    },
    SpecialCase("dropout, evaluation", [.any(two)]) {
      [try dropout($0[0], probability: 0.4, isTest: true)]
    },
    SpecialCase("concat and split", [.any([2, 3]), .any([2, 2])]) {
      try split(concat($0, axis: 1), [1, 4], axis: 1)
    },
    SpecialCase("slice", [.any(two)]) { [try slice($0[0], axes: [1], starts: [3], ends: [15])] },
    SpecialCase("pad", [.any(two)]) { [try pad($0[0], [0, 1, 2, 0], value: -3)] },
    SpecialCase("transpose", [.any([2, 3, 4])]) { [try transpose($0[0], [2, 0, 1])] },
    SpecialCase("reshape and flatten", [.any([2, 3, 4])]) {
      [try flatten(reshape($0[0], [4, 3, 2]), axis: 1)]
    },
  ]

/// With given statistics, where nothing is added up in the forward pass.
let specialNormalizations: [SpecialCase] =
  [
    SpecialCase("batch_norm", [.any([2, 3, 5])]) {
      [try batchNorm($0[0], useGlobalStats: true)]
    },
    SpecialCase("batch_norm, NHWC", [.any([2, 5, 3])]) {
      [try batchNorm($0[0], dataLayout: .nhwc, useGlobalStats: true)]
    },
  ]
  + Activation.all.map { act in
    SpecialCase(
      // y is stored: exp(y) then has as many units of rounding as y is large.
      "inplace_abn \(act)", [.any([2, 3, 5])], units: 512, stored: 128, leastUnits: 512,
      measure: .curve,
      // elu goes back by z + alpha; see Documentation/InPlaceABN.md.
      isDifferentiated: act.name != "elu", vanishes: true
    ) { [try inplaceABN($0[0], act: act.with(alpha: 0.2), useGlobalStats: true)] }
  }
