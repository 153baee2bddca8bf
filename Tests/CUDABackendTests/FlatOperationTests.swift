import ABNActivations
import ABNOperators
import ABNTensors
import Testing

/// Operators element by element, on the card as on the processor, bit for bit but where a case says
/// otherwise.
@Suite(.enabled(if: FlatCase.card != nil, "no card, and none is stood in for"))
struct FlatOperatorTests {
  private static let shape: Shape = [3, 5, 7, 11]
  private static let types: [DType] = [.float32, .float64, .bfloat16, .float16]

  /// The cases in two types, and every third of them in the others, which differ from one of the two
  /// by conversions alone: each kernel is compiled, which takes longer than it runs.
  private static func typed(_ cases: [FlatCase], _ most: [DType]) -> [TypedCase] {
    most.flatMap { dtype in cases.map { TypedCase(own: $0, dtype: dtype) } }
      + types.filter { !most.contains($0) }.flatMap { dtype in
        cases.enumerated().filter { $0.offset % 3 == 0 }.map {
          TypedCase(own: $0.element, dtype: dtype)
        }
      }
  }

  private static func binary(_ axes: [Shape], _ axis: Int = -1) -> [FlatCase] {
    [Elementwise.Function.add, .subtract, .multiply, .divide].map { function in
      FlatCase("\(function) \(axes) axis \(axis)", axes.map { .like($0) }) { _ in
        Elementwise(function, axis: axis)
      }
    }
  }

  static let plain: [FlatCase] =
    binary([shape, shape]) + binary([[1], [1]]) + binary([[2, 3, 4], [2, 3, 4]])
    + binary([[2, 16, 4, 5], [16]], 1) + binary([[2, 3, 4, 5], [3, 4]], 1)
    + binary([[2, 1, 4], [3, 1]]) + binary([[6, 64], [64]]) + binary([[6, 64], [6, 1]])
    + binary([[2, 3, 4, 16], [1]]) + binary([[2, 16, 3, 8], [2, 16, 1, 1]])
    + [
      FlatCase("sum of 1", [.like(shape)]) { _ in SumOf() },
      FlatCase("sum of 2", [.like(shape), .like(shape)]) { _ in SumOf() },
      FlatCase("sum of 3", Array(repeating: .like(shape), count: 3)) { _ in SumOf() },
      FlatCase("sum of 8", Array(repeating: .like([5, 77]), count: 8)) { _ in SumOf() },
      FlatCase("sum of 23", Array(repeating: .like([5, 77]), count: 23)) { _ in SumOf() },
      FlatCase("scale", [.like(shape)]) { _ in Scale(factor: -1.5) },
      FlatCase("scale by a float64", [.like(shape)]) { _ in Scale(factor: 0.1, bias: 0.3) },
      FlatCase("scale beyond float32", [.like(shape)]) { _ in Scale(factor: 1e60) },
      FlatCase("squared error", [.like(shape), .like(shape)]) { _ in SquaredError() },
      FlatCase("squared error's gradient", Array(repeating: .like(shape), count: 3)) { _ in
        SquaredErrorGradient()
      },
      FlatCase(
        "divisor's gradient", [.like([2, 3, 4, 8]), .like([2, 3, 4, 8]), .like([4, 1])]
      ) { _ in DivisorGradient(axis: -1) },
      FlatCase("zeros", [.like(shape)]) { _ in ZerosLike() },
      FlatCase("constant", []) { FillConstant(0.3, type: TensorType([3, 7, 11], $0)) },
      FlatCase("assign", [.like(shape)]) { _ in Assign() },
    ]

  @Test(arguments: typed(plain, [.float32, .bfloat16]))
  func arithmetic(_ test: TypedCase) throws { try test.own.check(test.dtype) }

  @Test(arguments: plain.filter { $0.inputs.contains { $0.shape.rank == 4 } })
  func channelsLast(_ test: FlatCase) throws {
    try test.check(.float32, channelsLast: true)
    try test.check(.bfloat16, channelsLast: true)
  }

  // The processor takes 16 elements at once, and where one of them has a vanishing exponential the
  // steps that are right for it for all: each is within its bound of the truth, but other bits.
  static let curves: [FlatCase] =
    (Activation.all.filter { $0 != .prelu } + [
      .leakyReLU(slope: 0), .leakyReLU(slope: -0.5), .elu(alpha: 1.3), .elu(alpha: -0.5),
    ]).flatMap { function -> [FlatCase] in
      let isCurve = [.curve(isSmooth: true), .curve(isSmooth: false)].contains(function.form)
      // Near the place where a derivative is 0 its bound is one of ulps of 1.
      let ulps = (
        2 * function.row.valueUlps, function.row.crosses ? 0x1p12 : 2 * function.row.gradientUlps
      )
      return [
        FlatCase("\(function)", [.like(shape)], ulps: isCurve ? Int64(ulps.0) : 0) { _ in
          try Activate(function)
        },
        FlatCase("\(function) of ordinary numbers", [.like([5000], .moderate)]) { _ in
          try Activate(function)
        },
        FlatCase(
          "gradient of \(function)", [.like(shape), .like(shape)],
          ulps: isCurve ? Int64(ulps.1) : 0
        ) { _ in ActivateGradient(of: try Activate(function)) },
        FlatCase(
          "gradient of \(function), ordinary numbers",
          [.like([5000], .moderate), .like([5000], .moderate)]
        ) { _ in ActivateGradient(of: try Activate(function)) },
      ]
    }
    + [Unary.Function.square, .sqrt, .exp, .log, .abs].flatMap { function -> [FlatCase] in
      [
        FlatCase("\(function)", [.like(shape)]) { _ in Unary(function) },
        FlatCase("\(function) of positive numbers", [.like([999], .positive)]) { _ in
          Unary(function)
        },
        FlatCase("gradient of \(function)", [.like(shape), .like(shape)]) { _ in
          UnaryGradient(of: Unary(function))
        },
      ]
    }
    + [Activation.relu, .relu6, .leakyReLU(slope: 0.1)].map { function in
      FlatCase("\(function) with mask", [.like(shape)]) { _ in
        try MaskedActivate(Activate(function))
      }
    }
    + [Activation.relu, .leakyReLU(slope: 0.1)].map { function in
      FlatCase(
        "gradient of a sum through \(function)", Array(repeating: .like(shape), count: 3)
      ) { _ in ActivateGradientOfSum(of: try Activate(function))! }
    } + [
      FlatCase("prelu, one slope", [.like(shape), slopes([1])]) { _ in PReLU() },
      FlatCase("prelu, a slope a channel", [.like(shape), slopes([5, 1, 1])]) { _ in PReLU() },
      FlatCase("prelu's gradient", [.like(shape), slopes([5, 1, 1]), .like(shape)]) { _ in
        PReLUGradient()
      },
    ]

  private static func slopes(_ shape: Shape) -> FlatCase.Input {
    FlatCase.Input(shape: shape, values: .any, isAccumulation: true)
  }

  @Test(arguments: typed(curves, [.float32, .float64]))
  func functions(_ test: TypedCase) throws { try test.own.check(test.dtype) }

  @Test(arguments: [Activation.relu, .relu6, .leakyReLU(slope: 0.1)], types)
  func gradientsFromMasks(_ function: Activation, _ dtype: DType) throws {
    for count in [1, 8, 1237] {
      let mask = FlatCase.Input(
        shape: [(count + 7) / 8], values: .fixed([0, 255, 0x5a, 0x81, 3]), dtype: .uint8)
      try FlatCase("mask of \(count)", [mask, .like([count])]) { _ in
        MaskedActivateGradient(of: try Activate(function))
      }.check(dtype)
    }
  }

  @Test(arguments: DType.allCases, DType.allCases)
  func casts(_ from: DType, _ to: DType) throws {
    // Ends of ranges, halves and what lies beyond, in the types that have them.
    let ends: [Double] = [
      0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 127, 127.6, 128, -128, -128.9, -129, 255, 255.9, 256, -1,
      0x1p31 - 1, 0x1p31, -0x1p31, -0x1p31 - 1, 0x1p53 + 2, 0x1p63, -0x1p63, 1e30, -1e30, .infinity,
      -.infinity, .nan, 1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-11, 1 + 0x1p-8 + 0x1p-40, 65519.99,
      65520, 3.4e38, 3.39e38, 1e-40, 1e-46,
    ]
    let cases: [FlatCase.Input] = [
      .init(shape: [6, 7, 11], values: .fixed(ends), dtype: from),
      .init(shape: [4099], values: .any, dtype: from),
    ]
    for input in cases {
      try FlatCase("cast to \(to)", [input]) { _ in Cast(to: to) }.check(from)
    }
  }

  @Test(arguments: DType.allCases) func constantsOfEveryType(_ dtype: DType) throws {
    for count in [1, 15, 16, 5000] {
      try FlatCase("constant", []) { FillConstant(1, type: TensorType([count], $0)) }.check(dtype)
    }
    let values = Tensor((0..<3000).map { Double($0 % 100) }, shape: [3000]).cast(to: dtype)
    try FlatCase("values", []) { _ in AssignValue(values) }.check(dtype)
  }
}

/// A case in one type.
struct TypedCase: Sendable, CustomTestStringConvertible {
  let own: FlatCase
  let dtype: DType
  var testDescription: String { "\(own.name) in \(dtype)" }
}
