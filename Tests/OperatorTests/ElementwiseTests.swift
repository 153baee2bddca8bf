import ABNLayers
import ABNTestSupport
import Testing

@Suite struct ElementwiseTests {
  static let cases: [OperatorCase] = [
    OperatorCase(
      "add", [.random([3, 4]), .random([3, 4])],
      reference: { [zip($0[0].doubles, $0[1].doubles).map { $0 + $1 }] }
    ) { [try elementwiseAdd($0[0], $0[1])] },
    OperatorCase("add a row", [.random([3, 4]), .random([4])]) {
      [try elementwiseAdd($0[0], $0[1])]
    },
    OperatorCase("add channels", [.random([2, 3, 4, 5]), .random([3])]) {
      [try elementwiseAdd($0[0], $0[1], axis: 1)]
    },
    OperatorCase("add broadcasts both", [.random([2, 1, 4]), .random([3, 1])]) {
      [try elementwiseAdd($0[0], $0[1])]
    },
    OperatorCase("sub", [.random([3, 4]), .random([3, 1])]) {
      [try elementwiseSub($0[0], $0[1])]
    },
    OperatorCase("mul", [.random([2, 3, 2, 2]), .random([3])]) {
      [try elementwiseMul($0[0], $0[1], axis: 1)]
    },
    OperatorCase("mul by itself", [.random([3, 4])]) { [try elementwiseMul($0[0], $0[0])] },
    OperatorCase("div", [.random([3, 4]), .random([3, 4], 0.5, 2)]) {
      [try elementwiseDiv($0[0], $0[1])]
    },
    OperatorCase("div broadcasts", [.random([3, 4]), .random([1], 0.5, 2)]) {
      [try elementwiseDiv($0[0], $0[1])]
    },
    OperatorCase("sum of three", [.random([3, 4]), .random([3, 4]), .random([3, 4])]) {
      [try sums($0)]
    },
    OperatorCase("scale", [.random([3, 4])]) { [try scale($0[0], factor: -1.5, bias: 0.25)] },
    OperatorCase("mean", [.random([3, 5])]) { [try mean($0[0])] },
    OperatorCase("reduce_sum outer", [.random([3, 5, 2])]) { [try reduceSum($0[0], axes: [0])] },
    OperatorCase("reduce_sum around", [.random([3, 5, 2])]) {
      [try reduceSum($0[0], axes: [0, 2])]
    },
    OperatorCase("reduce_mean middle", [.random([3, 70, 2])]) {
      [try reduceMean($0[0], axes: [1], keepDimensions: true)]
    },
    OperatorCase("reduce_mean last", [.random([3, 4, 300])]) {
      [try reduceMean($0[0], axes: [-1])]
    },
  ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }
}

@Suite struct ActivationTests {
  static let cases: [OperatorCase] =
    [
      OperatorCase("relu", [.random([3, 7])], reference: { [$0[0].doubles.map { max($0, 0) }] }) {
        [try relu($0[0])]
      },
      OperatorCase("relu6", [.random([3, 7], -3, 9)]) { [try relu6($0[0])] },
      OperatorCase("leaky_relu", [.random([3, 7])]) { [try leakyReLU($0[0], alpha: 0.2)] },
      OperatorCase("leaky_relu alpha 0", [.random([3, 7])]) { [try leakyReLU($0[0], alpha: 0)] },
      OperatorCase("leaky_relu alpha -0.5", [.random([3, 7])]) {
        [try leakyReLU($0[0], alpha: -0.5)]
      },
      OperatorCase("elu", [.random([3, 7])]) { [try elu($0[0], alpha: 1.3)] },
      OperatorCase("elu alpha -0.5", [.random([3, 7])]) { [try elu($0[0], alpha: -0.5)] },
      OperatorCase("sigmoid", [.random([3, 7], -6, 6)]) { [try sigmoid($0[0])] },
      OperatorCase("tanh", [.random([3, 7])]) { [try tanh($0[0])] },
      OperatorCase("swish", [.random([3, 7], -6, 6)]) { [try swish($0[0])] },
      OperatorCase("gelu", [.random([3, 7], -4, 4)]) { [try gelu($0[0])] },
      OperatorCase("hard_swish", [.random([3, 7], -4, 4)]) { [try hardSwish($0[0])] },
      OperatorCase("mish", [.random([3, 7], -4, 4)]) { [try mish($0[0])] },
      OperatorCase("chain", [.random([3, 7])]) { [try tanh(leakyReLU(sigmoid($0[0])))] },
    ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }
}
