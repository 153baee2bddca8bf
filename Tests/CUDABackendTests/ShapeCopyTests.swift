import ABNGraph
import ABNOperators
import ABNTensors
import Testing

@testable import ABNCUDABackend

/// Operators that move elements, of every type, and resizing, on the card as on the processor.
@Suite(.enabled(if: FlatCase.card != nil, "no card, and none is stood in for"))
struct ShapeCopyTests {
  /// Elements of 1, 2, 4 and 8 bytes.
  static let types: [DType] = [.uint8, .bool, .float16, .bfloat16, .float32, .float64, .int64]

  private static func values(_ dtype: DType) -> ShapeCase.Values {
    dtype.isFloatingPoint ? .any : .integers(0..<2)
  }

  static let parts: [([Shape], Int)] = [
    ([[2, 3, 4, 5], [2, 6, 4, 5]], 1), ([[2, 16, 4, 4], [2, 32, 4, 4]], 1),
    ([[2, 16, 4, 5], [1, 16, 4, 5]], 0), ([[2, 8, 4, 5], [2, 8, 4, 3]], -1),
    ([[2, 8, 4, 5], [2, 8, 1, 5], [2, 8, 2, 5]], 2), ([[7], [9], [1]], 0), ([[3, 4], [3, 1]], 1),
    ([[5, 16], [5, 48], [5, 4]], -1), ([[2, 1, 4, 5], [2, 7, 4, 5]], 1), ([[2, 3, 5]], 1),
  ]

  @Test(arguments: parts.indices, types)
  func concatAndSplit(_ index: Int, _ dtype: DType) throws {
    let (shapes, axis) = Self.parts[index]
    let inputs = shapes.map { ShapeCase.Input.of($0, Self.values(dtype)) }
    let at = axis < 0 ? axis + shapes[0].rank : axis
    let test = ShapeCase("parts \(shapes) along \(axis)", inputs) { v, append in
      let whole = try append(Concat(axis: axis), v)
      var made = whole
      if dtype.isFloatingPoint {
        for place in v.indices {
          made += try append(
            ConcatGradient(axis: axis, index: place), whole + v[...place])
        }
      }
      return made + (try append(Split(.sizes(shapes.map { $0[at] }), axis: axis), whole))
    }
    try test.check(dtype)
    if shapes[0].rank >= 3 { try test.check(dtype, channelsLast: true) }
  }

  static let slices: [(Shape, [Int], [Int], [Int])] = [
    ([9], [0], [2], [7]), ([4, 6], [1], [-3], [-1]), ([2, 16, 8, 8], [2, 3], [1, 2], [7, 6]),
    ([2, 16, 8, 8], [1], [8], [16]), ([3, 5, 6, 7], [0, 1, 2, 3], [1, 1, 2, 3], [2, 4, 5, 7]),
    ([2, 3, 4, 5, 6], [2, 4], [1, 2], [3, 6]), ([2, 8, 4], [1], [3], [4]),
  ]

  @Test(arguments: slices.indices, types)
  func slicesAndPads(_ index: Int, _ dtype: DType) throws {
    let (shape, axes, starts, ends) = Self.slices[index]
    let slice = try Slice(axes: axes, starts: starts, ends: ends)
    let before = shape.dimensions.indices.map { ($0 * 7 + 1) % 3 }
    let after = shape.dimensions.indices.map { ($0 * 5 + 2) % 4 }
    let pad = try Pad(before: before, after: after, value: 1)
    let test = ShapeCase("slice and pad \(shape)", [.of(shape, Self.values(dtype))]) { v, append in
      let part = try append(slice, v)
      let gradient = try append(SliceGradient(of: slice), [part[0], v[0]])
      return part + gradient + (try append(pad, v))
    }
    try test.check(dtype)
    if shape.rank >= 3 { try test.check(dtype, channelsLast: true) }
  }

  static let permutations: [(Shape, [Int])] = [
    ([5, 7], [1, 0]), ([40, 70], [1, 0]), ([2, 3, 40, 33], [0, 2, 3, 1]),
    ([2, 5, 6, 64], [0, 3, 1, 2]),
    ([2, 3, 4, 5], [3, 2, 1, 0]), ([2, 3, 4, 16], [1, 0, 2, 3]),
    ([2, 3, 4, 5, 6], [4, 1, 3, 0, 2]),
    ([4, 1, 3], [1, 2, 0]), ([6], [0]), ([2, 2, 2, 2, 2, 2, 2], [6, 4, 2, 0, 1, 3, 5]),
  ]

  @Test(arguments: permutations.indices, types)
  func transposes(_ index: Int, _ dtype: DType) throws {
    let (shape, permutation) = Self.permutations[index]
    let test = ShapeCase("transpose \(shape)", [.of(shape, Self.values(dtype))]) { v, append in
      try append(Transpose(permutation), v)
    }
    try test.check(dtype)
    if shape.rank >= 3 { try test.check(dtype, channelsLast: true) }
  }

  @Test(arguments: types) func viewsAreTheRowMajorBytes(_ dtype: DType) throws {
    let test = ShapeCase("views", [.of([3, 5, 4, 7], Self.values(dtype))]) { v, append in
      let flat = try append(Flatten(axis: 1), v)
      let other = try append(Reshape([7, 0, -1]), v)
      let back = try append(ReshapeGradient(), [flat[0], v[0]])
      // Both what was viewed and the view are read behind.
      let moved = try append(Transpose([1, 0]), flat)
      return flat + other + back + moved
    }
    try test.check(dtype)
    try test.check(dtype, channelsLast: true)
  }

  // MARK: Resizing

  static let sizes: [(Shape, Int, Int)] = [
    ([2, 3, 5, 7], 10, 14), ([2, 16, 6, 5], 12, 3), ([1, 8, 9, 9], 4, 4), ([2, 2, 1, 1], 3, 5),
    ([2, 8, 4, 6], 1, 1), ([1, 5, 7, 3], 7, 3),
  ]

  @Test(arguments: sizes.indices, [DType.float32, .float64, .bfloat16, .float16])
  func resizes(_ index: Int, _ dtype: DType) throws {
    let (shape, height, width) = Self.sizes[index]
    for (method, corners, mode) in [
      (Resize.Method.nearest, true, 1), (.nearest, false, 1), (.bilinear, true, 1),
      (.bilinear, false, 0), (.bilinear, false, 1),
    ] {
      for layout in [DataLayout.nchw, .nhwc] {
        let kind = try Resize(
          method, to: .shape(height: height, width: width), alignCorners: corners,
          alignMode: mode, layout: layout)
        let x = layout == .nchw ? shape : [shape[0], shape[2], shape[3], shape[1]]
        let y = try kind.outputTypes(for: [TensorType(x, dtype)])[0].shape
        let test = ShapeCase(
          "\(method) \(corners) \(mode) of \(x)", [.of(x, .magnitudes), .of(y, .magnitudes)],
          units: 8
        ) { v, append in
          try append(kind, [v[0]]) + append(ResizeGradient(of: kind), [v[1], v[0]])
        }
        try test.check(dtype)
        if layout == .nchw { try test.check(dtype, channelsLast: true) }
      }
    }
  }

  @Test(arguments: [DType.float32, .float64, .bfloat16, .float16])
  func foldsNormalizations(_ dtype: DType) throws {
    for hasBias in [false, true] {
      let inputs: [ShapeCase.Input] =
        [.of([5, 3, 3, 3], .moderate)] + (0..<3).map { _ in .of([5], .moderate) }
        + [.of([5], .magnitudes)] + (hasBias ? [.of([5], .moderate)] : [])
      try ShapeCase("fold", inputs, units: 2) { v, append in
        try append(FoldNormalization(epsilon: 1e-5), v)
      }.check(dtype)
    }
  }

  // MARK: What kernels count with

  /// The quotient of walk.cuh, by its multiplier and shift.
  @Test func divisorsDivide() {
    let source = CounterRandom(seed: 4, stream: 0)
    let most = 1 << 31 - 1
    var numbers = Array(1...1000) + [most, most - 1, 1 << 30, 1 << 30 + 1, 46341, 65535, 65537]
    for index in 0..<500 {
      numbers.append(1 + Int(source.uniform(UInt64(index)) * Double(most - 1)))
    }
    for number in numbers {
      let divisor = Divisor(number)
      for near in [0, number, 2 * number, most / number * number, most / 2] {
        for n in [near - 1, near, near + 1] where (0...most).contains(n) {
          let product = (UInt64(n) * UInt64(divisor.multiplier)) >> 32
          let quotient = (product + UInt64(n)) >> UInt64(divisor.shift)
          #expect(Int(quotient) == n / number, "\(n) / \(number)")
          #expect(product + UInt64(n) < 1 << 32)
        }
      }
    }
  }
}
