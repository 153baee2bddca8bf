import ABNGraph
import ABNOperators
import ABNTensors
import Testing

/// Operators that move elements or add them up, on the card as on the processor.
@Suite(.enabled(if: FlatCase.card != nil, "no card, and none is stood in for"))
struct ShapeOperatorTests {
  static let types: [DType] = [.float32, .float64, .bfloat16, .float16]

  // MARK: Pooling

  static func window(
    _ kernel: [Int], _ stride: [Int], _ padding: some PaddingConvertible = 0, ceil: Bool = false
  ) -> Pool2D.Extent {
    .window(Window2D(kernel: kernel, stride: stride, padding: padding, ceilMode: ceil))
  }

  static let extents: [Pool2D.Extent] = [
    window([3, 3], [2, 2], 1), window([2, 2], [2, 2]), window([3, 2], [1, 3], ceil: true),
    window([3, 3], [2, 2], ceil: true), window([2, 5], [3, 2], .explicit([[1, 0], [2, 3]])),
    window([1, 1], [2, 2]), window([3, 3], [1, 1], .same), window([16, 17], [1, 1], 8), .global,
    .adaptive([1, 1]), .adaptive([3, 4]), .adaptive([7, 23]),
  ]

  /// Whole chunks of channels and of places, and neither.
  static let images: [Shape] = [[2, 16, 9, 16], [2, 3, 9, 11], [1, 8, 10, 9], [3, 1, 16, 8]]

  static func pooling(
    _ function: PoolType, _ extent: Pool2D.Extent, _ image: Shape, _ layout: DataLayout = .nchw,
    exclusive: Bool = true
  ) throws -> ShapeCase {
    let kind = try Pool2D(function, extent, exclusive: exclusive, layout: layout)
    let x = layout == .nchw ? image : [image[0], image[2], image[3], image[1]]
    let y = try kind.outputTypes(for: [TensorType(x, .float32)])[0].shape
    let values: ShapeCase.Values = function == .max ? .any : .magnitudes
    return ShapeCase(
      "\(function) \(extent) of \(image) \(layout)", [.of(x, values), .of(y, .magnitudes)],
      units: 8
    ) { v, append in
      let made = try append(kind, [v[0]])
      let seen = [v[1], v[0]] + made.dropFirst()
      return made + (try append(Pool2DGradient(of: kind), seen))
    }
  }

  @Test(arguments: extents, [PoolType.max, .average])
  func pooling(_ extent: Pool2D.Extent, _ function: PoolType) throws {
    for (index, image) in Self.images.enumerated() {
      for dtype in index == 0 ? Self.types : [.float32, .bfloat16] {
        let test = try Self.pooling(function, extent, image)
        try test.check(dtype)
        if dtype != .float64 { try test.check(dtype, channelsLast: true) }
      }
      try Self.pooling(function, extent, image, .nhwc).check(.float32)
      try Self.pooling(function, extent, image, .nhwc, exclusive: false).check(.bfloat16)
      try Self.pooling(function, extent, image, exclusive: false)
        .check(.float32, channelsLast: true)
    }
  }

  // MARK: Sums

  static let reductions: [(Shape, [Int]?)] = [
    ([5, 7], [0]), ([5, 7], [1]), ([5, 7], nil), ([1], nil), ([2, 3, 4, 5], [1, 3]),
    ([2, 3, 4, 5], [0, 2]), ([2, 16, 6, 8], [0, 2, 3]), ([2, 16, 6, 8], [2, 3]),
    ([3, 5, 7, 7], [2, 3]), ([2, 3, 4, 5], [1, 2]), ([3, 1011], [1]), ([2, 5003], nil),
    ([1100, 24], [0]), ([1099, 5], [0]), ([64, 1, 3], [1]), ([2, 3, 2, 3, 2, 3], [1, 3, 5]),
    ([9, 300, 3], [1]), ([300, 100], [0]),
  ]

  @Test(arguments: reductions.indices, types)
  func sums(_ index: Int, _ dtype: DType) throws {
    let (shape, axes) = Self.reductions[index]
    for (function, keeps) in [(Reduce.Function.sum, true), (.mean, false)] {
      let kind = Reduce(function, axes: axes, keepDimensions: keeps)
      let y = try kind.outputTypes(for: [TensorType(shape, dtype)])[0].shape
      let test = ShapeCase(
        "\(function) of \(shape) over \(axes ?? [])", [.of(shape, .magnitudes), .of(y)], units: 2
      ) { v, append in
        try append(kind, [v[0]]) + append(ReduceGradient(of: kind), [v[0], v[1]])
      }
      try test.check(dtype)
      if shape.rank >= 3 { try test.check(dtype, channelsLast: true) }
    }
  }

  @Test(arguments: types) func sumsToShapes(_ dtype: DType) throws {
    let pairs: [(Shape, Shape, Int)] = [
      ([2, 16, 5, 7], [16], 1), ([2, 16, 5, 7], [16, 1, 1], -1), ([2, 16, 5, 7], [7], -1),
      ([2, 16, 5, 7], [2, 16, 1, 1], -1), ([300, 40], [40], -1), ([300, 40], [300, 1], -1),
      ([3, 4], [3, 4], -1), ([2, 3, 4], [1], -1), ([2, 16, 5, 7], [2, 1, 5, 7], -1),
    ]
    for (x, target, axis) in pairs {
      let test = ShapeCase(
        "\(x) to \(target)", [.of(x, .magnitudes), .of(target)], units: 2
      ) { v, append in try append(SumToShape(axis: axis), v) }
      try test.check(dtype)
      if x.rank >= 3 { try test.check(dtype, channelsLast: true) }
    }
  }

  // MARK: Softmax and losses

  static let lines: [(Shape, Int)] = [
    ([5, 1], -1), ([7, 10], -1), ([3, 1000], -1), ([2, 5, 3, 4], 1), ([300, 2], 0),
    ([2, 3, 700], 1),
    ([1, 600, 2], 1), ([40, 33], -1),
  ]

  // The processor adds the terms of lines side by side in float32, the card in float64.
  @Test(arguments: lines.indices, types)
  func softmax(_ index: Int, _ dtype: DType) throws {
    let (shape, axis) = Self.lines[index]
    for values in [ShapeCase.Values.moderate, .any] {
      let isModerate = if case .moderate = values { true } else { false }
      try ShapeCase(
        "softmax of \(shape) \(axis)", [.of(shape, values)], units: 32
      ) { v, append in try append(Softmax(axis: axis), v) }.check(dtype)
      guard isModerate else { continue }
      // What is left where dy is nearly the mean of dy is rounded.
      try ShapeCase(
        "its gradient", [.of(shape), .of(shape, .moderate)], units: 16, least: 16
      ) { v, append in
        let y = try append(Softmax(axis: axis), [v[1]])[0]
        return try append(SoftmaxGradient(axis: axis), [y, v[1]])
      }.check(dtype)
    }
  }

  @Test(arguments: lines.indices, types)
  func crossEntropy(_ index: Int, _ dtype: DType) throws {
    let (shape, given) = Self.lines[index]
    let axis = given < 0 ? given + shape.rank : given
    var rows = shape
    rows[axis] = 1
    let classes = shape[axis]
    for values in [ShapeCase.Values.moderate, .any] {
      let isModerate = if case .moderate = values { true } else { false }
      // Terms of any magnitude and both signs: their sum has no digits left.
      for isSoft in isModerate ? [false, true] : [false] {
        let kind = SoftmaxCrossEntropy(softLabel: isSoft, ignoreIndex: -1, axis: axis)
        let label: ShapeCase.Input =
          isSoft ? .of(shape, .moderate) : .labels(rows, -1..<classes)
        try ShapeCase(
          "loss of \(shape) \(axis)", [.of(shape, values), label, .of(rows, .moderate)],
          units: 64, least: 64
        ) { v, append in
          let made = try append(kind, [v[0], v[1]])
          return made + (try append(SoftmaxCrossEntropyGradient(of: kind), [made[1], v[1], v[2]]))
        }.check(dtype)
      }
    }
  }

  @Test(arguments: types) func accuracy(_ dtype: DType) throws {
    for (shape, k) in [([1, 1], 1), ([37, 10], 1), ([300, 10], 3), ([9, 1000], 5)] as [(Shape, Int)]
    {
      let kind = try Accuracy(k: k)
      try ShapeCase(
        "accuracy of \(shape)", [.of(shape), .labels([shape[0], 1], 0..<shape[1])]
      ) { v, append in try append(kind, v) }.check(dtype)
    }
  }
}
