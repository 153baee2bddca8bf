import ABNActivations
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Testing

@Suite struct ConvolutionTests {
  static func convolution(
    _ name: String, _ x: [Int], _ w: [Int], stride: Int = 1, padding: some PaddingConvertible = 0,
    dilation: Int = 1, groups: Int = 1, layout: DataLayout = .nchw, bias: Bool = false
  ) -> OperatorCase {
    var inputs: [CaseInput] = [.random(Shape(x)), .random(Shape(w))]
    if bias { inputs.append(.random([w[0]])) }
    return OperatorCase(name, inputs) { v in
      let kind = try Conv2D(
        window: Window2D(
          kernel: [w[2], w[3]], stride: [stride, stride], dilation: [dilation, dilation],
          padding: padding),
        groups: groups, layout: layout)
      return [try op(kind, v)]
    }
  }

  static let cases: [OperatorCase] = [
    convolution("3x3", [2, 3, 6, 5], [4, 3, 3, 3]),
    convolution("3x3 bias padding", [2, 3, 6, 5], [4, 3, 3, 3], padding: 1, bias: true),
    convolution("1x1 blocked", [2, 16, 4, 5], [32, 16, 1, 1]),
    convolution("3x3 blocked", [2, 32, 5, 5], [16, 32, 3, 3], padding: 1),
    convolution("3x3 blocked strided", [2, 16, 8, 8], [16, 16, 3, 3], stride: 2, padding: 1),
    convolution("5x3 stride 2", [2, 3, 9, 7], [4, 3, 5, 3], stride: 2, padding: 2),
    convolution("dilated", [2, 3, 9, 9], [4, 3, 3, 3], padding: 2, dilation: 2),
    convolution("groups", [2, 6, 6, 6], [4, 3, 3, 3], padding: 1, groups: 2),
    convolution("depthwise", [2, 6, 6, 6], [6, 1, 3, 3], padding: 1, groups: 6),
    convolution(
      "asymmetric", [1, 3, 6, 6], [4, 3, 3, 3], stride: 2,
      padding: .explicit([[0, 1], [2, 1]]), bias: true),
    convolution("same", [1, 3, 7, 6], [4, 3, 3, 3], stride: 2, padding: .same),
    convolution("nhwc", [2, 6, 5, 3], [4, 3, 3, 3], padding: 1, layout: .nhwc, bias: true),
    convolution("nhwc blocked", [2, 6, 5, 16], [16, 16, 3, 3], layout: .nhwc),
    OperatorCase(
      "two blocked layers and a sum",
      [
        .random([2, 16, 5, 5]), .random([16, 16, 3, 3]), .random([16, 16, 3, 3]),
      ]
    ) { v in
      let kind = try Conv2D(window: Window2D(kernel: [3, 3], padding: 1))
      let a = try op(kind, [v[0], v[1]])
      let b = try op(kind, [relu(a), v[2]])
      return [try elementwiseAdd(b, v[0])]
    },
    OperatorCase("mul", [.random([5, 2, 3]), .random([6, 4])]) {
      [try op(Mul(), $0)]
    },
    OperatorCase("mul 2 rows dims", [.random([5, 2, 3]), .random([3, 4])]) {
      [try op(Mul(numFlattenDims: 2), $0)]
    },
    OperatorCase("fc", [.random([5, 2, 3])]) { [try fc($0[0], size: 7, act: .tanh)] },
    OperatorCase("fc of two", [.random([5, 6]), .random([5, 2, 3])]) { [try fc($0, size: 3)] },
  ]

  @Test(arguments: cases) func gradient(_ test: OperatorCase) throws { try test.check() }
}

@Suite struct PoolingTests {
  static func pool(
    _ name: String, _ x: [Int], _ function: PoolType, _ size: some Pair = 2, stride: some Pair = 2,
    padding: some PaddingConvertible = 0, ceil: Bool = false, exclusive: Bool = true,
    layout: DataLayout = .nchw
  ) -> OperatorCase {
    OperatorCase(name, [.random(Shape(x))]) {
      [
        try pool2d(
          $0[0], poolSize: size, poolType: function, poolStride: stride, poolPadding: padding,
          ceilMode: ceil, exclusive: exclusive, dataLayout: layout)
      ]
    }
  }

  static let cases: [OperatorCase] = [
    pool("max", [2, 3, 6, 4], .max),
    pool("max overlapping", [2, 3, 7, 7], .max, 3, stride: 2, padding: 1),
    pool("max ceil", [2, 3, 6, 6], .max, 3, stride: 2, ceil: true),
    pool("max nhwc", [2, 6, 4, 3], .max, layout: .nhwc),
    pool("max blocked", [2, 16, 6, 6], .max, 3, stride: 2, padding: 1),
    pool("average", [2, 3, 6, 4], .average),
    pool("average exclusive", [2, 3, 7, 7], .average, 3, stride: 2, padding: 1),
    pool("average inclusive", [2, 3, 7, 7], .average, 3, stride: 2, padding: 1, exclusive: false),
    pool("average same", [2, 3, 5, 7], .average, 3, stride: 2, padding: .same),
    pool("average nhwc", [2, 6, 4, 3], .average, layout: .nhwc),
    OperatorCase("global average", [.random([2, 3, 5, 4])]) {
      [try pool2d($0[0], poolType: .average, globalPooling: true)]
    },
    OperatorCase("global max of many", [.random([2, 3, 20, 20])]) {
      [try pool2d($0[0], poolType: .max, globalPooling: true)]
    },
    OperatorCase("adaptive even", [.random([2, 3, 6, 4])]) {
      [try adaptivePool2d($0[0], poolSize: [3, 2], poolType: .average)]
    },
    OperatorCase("adaptive uneven", [.random([2, 3, 7, 5])]) {
      [try adaptivePool2d($0[0], poolSize: [3, 2], poolType: .average)]
    },
    OperatorCase("adaptive uneven max", [.random([2, 7, 5, 3])]) {
      [try adaptivePool2d($0[0], poolSize: [3, 2], poolType: .max, dataLayout: .nhwc)]
    },
    OperatorCase(
      "pool of a blocked convolution",
      [
        .random([2, 16, 8, 8]), .random([16, 16, 3, 3]),
      ]
    ) { v in
      let conv = try op(Conv2D(window: Window2D(kernel: [3, 3], padding: 1)), v)
      return [
        try pool2d(
          pool2d(conv, poolSize: 2, poolStride: 2), poolType: .average, globalPooling: true)
      ]
    },
  ]

  @Test(arguments: cases) func gradient(_ test: OperatorCase) throws { try test.check() }
}
