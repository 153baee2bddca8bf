import ABNOperators
import ABNTensors
import Testing

@testable import ABNCUDABackend

/// Convolutions and products of matrices by the libraries, on the card as on the processor.
@Suite(.enabled(if: FlatCase.card != nil, "no card, and none is stood in for"))
struct ConvolutionTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var image: [Int] = [2, 8, 9, 11]
    var filters = 6
    var window: Window2D
    var groups = 1
  }

  static let cases = [
    Case(testDescription: "3x3", window: Window2D(kernel: [3, 3], padding: 1)),
    // In exact float32 with channels last a product of matrices.
    Case(testDescription: "1x1", window: Window2D(kernel: [1, 1])),
    Case(testDescription: "1x1/2", window: Window2D(kernel: [1, 1], stride: [2, 2])),
    Case(
      testDescription: "5x2, uneven padding",
      window: Window2D(kernel: [5, 2], stride: [2, 1], padding: .explicit([[1, 2], [0, 1]]))),
    Case(
      testDescription: "3x3 dilated",
      window: Window2D(kernel: [3, 3], dilation: [2, 1], padding: 2)
    ),
    Case(
      testDescription: "2 groups", window: Window2D(kernel: [3, 3], padding: .same), groups: 2),
    Case(
      testDescription: "one channel a group", filters: 8,
      window: Window2D(kernel: [3, 3], padding: 1), groups: 8),
    // Few channels: by space to depth, and with channels of zeros.
    Case(
      testDescription: "7x7/2 of 3 channels", image: [2, 3, 13, 12],
      window: Window2D(kernel: [7, 7], stride: [2, 2], padding: 3)),
    Case(
      testDescription: "3x3 of 3 channels", image: [2, 3, 7, 6],
      window: Window2D(kernel: [3, 3], padding: 1)),
  ]

  @Test(arguments: cases, DataLayout.allCases)
  func threeProducts(_ given: Case, _ layout: DataLayout) throws {
    let kind = try Conv2D(window: given.window, groups: given.groups, layout: layout)
    let i = given.image
    let x = Shape(layout == .nchw ? i : [i[0], i[2], i[3], i[1]])
    let w = Shape([given.filters, i[1] / given.groups] + given.window.kernel)
    let y = try kind.outputTypes(for: [TensorType(x, .float32), TensorType(w, .float32)])[0].shape
    // Sums of at most 198 products of numbers near 1: what is left of them may be as good as 0.
    let test = ShapeCase(
      "\(given.testDescription), \(layout)",
      [.of(x, .moderate), .of(w, .moderate), .of([given.filters], .moderate), .of(y, .moderate)],
      units: 4, least: 256
    ) { v, append in
      try append(kind, [v[0], v[1], v[2]])
        + append(Conv2DDataGradient(of: kind), [v[1], v[3], v[0]])
        + append(Conv2DWeightGradient(of: kind, hasBias: true), [v[0], v[3], v[1], v[2]])
    }
    for dtype in [DType.float32, .float64, .bfloat16, .float16] { try test.check(dtype) }
    if layout == .nchw { try test.check(.bfloat16, channelsLast: true) }
  }

  /// The kernel for what no engine computes, against the library: two that know nothing of each
  /// other, in both orders of images.
  @Test(arguments: cases)
  func formula(_ given: Case) throws {
    let device = try CUDADevice.device(0)
    let i = given.image
    for order in [ImageOrder.rowMajor, .channelsLast] {
      let operands = try ConvolutionOperands(
        Conv2D(window: given.window, groups: given.groups), x: TensorType(Shape(i), .float32),
        w: TensorType(Shape([given.filters, i[1] / given.groups] + given.window.kernel), .float32),
        order: order)
      for kind in [ConvolutionProduct.Kind.forward, .dataGradient, .weightGradient] {
        let product = try operands.product(kind, allowsTF32: false)
        let timing = try FlatCase.turn.withLock { _ in try measure(product, "\(i)", device) }
        let isMatrices = order == .channelsLast && given.testDescription == "1x1"
        #expect(isMatrices ? timing.engine == -2 : timing.engine > 0, "\(product)")
        #expect(timing.error < 1e-5, "\(product)")
      }
    }
  }

  /// What the stub's library proposes for a dilated product in float64 gives other numbers each
  /// time, or does not run.
  @Test(.enabled(if: TestCard.emulation != nil, "a real card has engines"))
  func enginesThatDoNotRunAreNotChosen() throws {
    for (dtype, runs) in [(DType.float64, false), (.float32, true)] {
      let operands = try ConvolutionOperands(
        Conv2D(window: Window2D(kernel: [3, 3], dilation: [2, 2])),
        x: TensorType([1, 2, 7, 7], dtype), w: TensorType([2, 2, 3, 3], dtype), order: .rowMajor)
      let plan = try FlatCase.turn.withLock { _ in
        try ConvolutionRun(operands.product(.forward, allowsTF32: false), CUDADevice.device(0))
      }
      #expect((plan != nil) == runs)
    }
  }

  @Test(arguments: [DType.float32, .float64, .bfloat16, .float16])
  func matrixProducts(_ dtype: DType) throws {
    let kind = Mul(numFlattenDims: 2)
    try ShapeCase(
      "mul", [.of([3, 2, 5, 7], .moderate), .of([35, 9], .moderate), .of([3, 2, 9], .moderate)],
      units: 4, least: 256
    ) { v, append in
      try append(kind, [v[0], v[1]])
        + append(MulDataGradient(of: kind), [v[1], v[2], v[0]])
        + append(MulWeightGradient(of: kind), [v[0], v[2], v[1]])
    }.check(dtype)
  }
}
