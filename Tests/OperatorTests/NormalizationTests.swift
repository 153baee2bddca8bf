import ABNActivations
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Testing

@Suite struct NormalizationTests {
  /// Scale and bias away from 1 and 0, so that their gradients matter; no scale near 0.
  static let scales = ParamAttr(initializer: .uniform(low: 0.5, high: 1.5))
  static let biases = ParamAttr(initializer: .uniform(low: -0.5, high: 0.5))

  static func abn(
    _ name: String, _ x: Shape, _ act: Activation? = nil, alpha: Double = 1,
    layout: DataLayout = .nchw, global: Bool = false, scale given: ParamAttr = scales
  ) -> OperatorCase {
    // The input is the sum of two, so that it is a temporary that may be overwritten.
    OperatorCase(name, [.random(x), .random(x)], tolerance32: 1e-4) {
      [
        try inplaceABN(
          elementwiseAdd($0[0], $0[1]), act: act?.with(alpha: alpha), paramAttr: given,
          biasAttr: biases,
          dataLayout: layout, useGlobalStats: global)
      ]
    }
  }

  static let cases: [OperatorCase] = [
    OperatorCase("batch_norm", [.random([4, 3, 5, 5])], tolerance32: 1e-4) {
      [try batchNorm($0[0], act: .relu, paramAttr: scales, biasAttr: biases)]
    },
    OperatorCase("batch_norm global", [.random([4, 3, 5, 5])]) {
      [try batchNorm($0[0], paramAttr: scales, biasAttr: biases, useGlobalStats: true)]
    },
    OperatorCase("batch_norm nhwc", [.random([4, 5, 5, 3])], tolerance32: 1e-4) {
      [try batchNorm($0[0], paramAttr: scales, biasAttr: biases, dataLayout: .nhwc)]
    },
    abn("identity", [4, 3, 5, 5]),
    abn("leaky_relu", [4, 3, 5, 5], .leakyReLU(), alpha: 0.2),
    abn("leaky_relu rank 2", [12, 5], .leakyReLU(), alpha: 0.01),
    abn("leaky_relu rank 3 nhwc", [4, 6, 5], .leakyReLU(), alpha: 0.2, layout: .nhwc),
    abn("leaky_relu rank 5", [2, 3, 2, 3, 4], .leakyReLU(), alpha: 2),
    abn("elu", [4, 3, 5, 5], .elu(), alpha: 1),
    abn("prelu", [4, 3, 5, 5], .prelu),
    abn("global leaky_relu", [4, 3, 5, 5], .leakyReLU(), alpha: 0.2, global: true),
    abn(
      "negative scale", [4, 3, 5, 5], .leakyReLU(), alpha: 0.2,
      scale: ParamAttr(initializer: .uniform(low: -2, high: -1))),
    abn(
      "zero scale", [4, 3, 5, 5], .leakyReLU(), alpha: 0.2,
      scale: ParamAttr(initializer: .constant(0))),
    abn("tiny scale", [4, 3, 5, 5], .elu(), scale: ParamAttr(initializer: .constant(1e-6))),
    abn("relu keeps y", [4, 3, 5, 5], .relu),
    abn("relu6 keeps y", [4, 3, 5, 5], .relu6),
    abn("leaky_relu alpha 0", [4, 3, 5, 5], .leakyReLU(), alpha: 0),
    abn("leaky_relu alpha < 0", [4, 3, 5, 5], .leakyReLU(), alpha: -0.5),
    abn("elu alpha < 0", [4, 3, 5, 5], .elu(), alpha: -0.5),
    abn("sigmoid", [4, 3, 5, 5], .sigmoid), abn("tanh", [4, 3, 5, 5], .tanh),
    abn("swish", [4, 3, 5, 5], .swish), abn("gelu", [4, 3, 5, 5], .gelu),
    abn("hard_swish", [4, 3, 5, 5], .hardSwish), abn("mish", [4, 3, 5, 5], .mish),
    abn("hard_sigmoid", [4, 3, 5, 5], .hardSigmoid),
    OperatorCase("layer directly on data", [.random([6, 4])], tolerance32: 1e-4) {
      [try inplaceABN($0[0], act: "leaky_relu", paramAttr: scales, biasAttr: biases, actAlpha: 0.1)]
    },
    OperatorCase("y = abn(h); y + h", [.random([6, 4])], tolerance32: 1e-4) {
      let h = try scale($0[0], factor: 1.5)
      return [try elementwiseAdd(inplaceABN(h, act: "leaky_relu", actAlpha: 0.2), h)]
    },
    OperatorCase("relu before the layer", [.random([6, 4, 3])], tolerance32: 1e-4) {
      [try inplaceABN(relu($0[0]), act: "elu")]
    },
    OperatorCase("max pool before the layer", [.random([3, 4, 6, 6])], tolerance32: 1e-4) {
      [try inplaceABN(pool2d($0[0], poolSize: 2, poolStride: 2), act: "leaky_relu", actAlpha: 0.1)]
    },
    OperatorCase("layer on layer", [.random([6, 4, 3])], tolerance32: 1e-4) {
      let h = try inplaceABN(
        scale($0[0], factor: 2), act: "leaky_relu", biasAttr: biases, actAlpha: 0.3)
      return [try inplaceABN(h, act: "leaky_relu", paramAttr: scales, actAlpha: 0.2)]
    },
    OperatorCase(
      "in a blocked layout", [.random([2, 16, 4, 4]), .random([16, 16, 3, 3])],
      tolerance32: 1e-4
    ) { v in
      let conv = try Conv2D(window: Window2D(kernel: [3, 3], padding: 1))
      let a = try inplaceABN(op(conv, v), act: "leaky_relu", actAlpha: 0.01)
      return [try inplaceABN(op(conv, [a, v[1]]), act: "relu", biasAttr: biases)]
    },
    OperatorCase(
      "momentum variable", [.random([6, 4]), .fixed(Tensor([Float(0.5)]))],
      tolerance32: 1e-4
    ) {
      [try inplaceABN(scale($0[0], factor: 2), momentum: .variable($0[1]), biasAttr: biases)]
    },
  ]

  @Test(arguments: cases) func gradient(_ test: OperatorCase) throws { try test.check() }
}
