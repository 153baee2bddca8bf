import ABNGraph
import ABNLayers
import ABNTensors
import ABNTestSupport
import Testing

/// Row-major element `index` of a tensor taken apart into its coordinates.
func coordinates(_ index: Int, in shape: Shape) -> [Int] {
  zip(shape.strides, shape.dimensions).map { index / $0 % $1 }
}

/// out[i] = x[source(coordinates of i)], 0 where there is none: the plain form of every movement.
func moved(_ x: Tensor, to shape: Shape, outside: Double = 0, _ source: ([Int]) -> [Int]?)
  -> [Double]
{
  let values = x.doubles
  return (0..<shape.elementCount).map { index in
    guard let at = source(coordinates(index, in: shape)) else { return outside }
    return values[zip(at, x.shape.strides).reduce(0) { $0 + $1.0 * $1.1 }]
  }
}

@Suite struct ShapingTests {
  static let cases = views + transposes + joints + windows

  static let views: [OperatorCase] = [
    OperatorCase("cast to float64", [.random([3, 7])], reference: { [$0[0].doubles] }) {
      [try cast($0[0], to: .float64)]
    },
    OperatorCase("cast there and back", [.random([3, 50])], tolerance32: 1e-6) {
      // In the float32 run, float64 in between.
      [try cast(scale(cast($0[0], to: .float64), factor: 3), to: $0[0].dtype)]
    },
    OperatorCase("assign", [.random([3, 7])], reference: { [$0[0].doubles] }) {
      [try assign($0[0]), $0[0]]
    },
    OperatorCase(
      "reshape", [.random([2, 3, 5])], reference: { [$0[0].doubles, $0[0].doubles] }
    ) { [try reshape($0[0], [5, -1]), try reshape($0[0], [0, 15])] },
    OperatorCase("reshape of a temporary", [.random([4, 6])]) {
      [try tanh(reshape(tanh($0[0]), [0, 2, -1]))]
    },
    OperatorCase("flatten", [.random([2, 3, 5])], reference: { [$0[0].doubles, $0[0].doubles] }) {
      [try flatten($0[0], axis: 2), try flatten($0[0], axis: 0)]
    },
  ]

  /// A transpose against its plain form.
  static func transposed(_ shape: Shape, _ permutation: [Int]) -> OperatorCase {
    OperatorCase(
      "transpose \(shape) \(permutation)", [.random(shape)],
      reference: { values in
        let target = Shape(permutation.map { shape[$0] })
        return [
          moved(values[0], to: target) { at in
            (0..<shape.rank).map { at[permutation.firstIndex(of: $0)!] }
          }
        ]
      }
    ) { [try transpose($0[0], permutation)] }
  }

  static let transposes: [OperatorCase] = [
    transposed([37, 70], [1, 0]), transposed([3, 4], [0, 1]), transposed([3, 4, 5], [1, 0, 2]),
    transposed([2, 3, 5, 7], [0, 2, 3, 1]), transposed([2, 5, 7, 3], [0, 3, 1, 2]),
    transposed([3, 4, 2, 5], [3, 2, 1, 0]), transposed([3, 1, 5, 2], [2, 0, 3, 1]),
  ]

  static let joints: [OperatorCase] = [
    OperatorCase(
      "concat outer", [.random([2, 3]), .random([1, 3]), .random([4, 3])],
      reference: { (x: [Tensor]) -> [[Double]] in [x.flatMap(\.doubles)] }
    ) { [try concat($0, axis: 0)] },
    OperatorCase(
      "concat channels", [.random([2, 3, 5]), .random([2, 1, 5])],
      reference: { (x: [Tensor]) -> [[Double]] in
        let (a, b) = (x[0].doubles, x[1].doubles)
        return [Array(a[..<15]) + Array(b[..<5]) + Array(a[15...]) + Array(b[5...])]
      }
    ) { [try concat($0, axis: 1)] },
    OperatorCase("concat last with itself", [.random([3, 4]), .random([3, 1])]) {
      [try concat([$0[0], $0[1], $0[0]], axis: -1)]
    },
    OperatorCase(
      "split equally", [.random([2, 6])],
      reference: { (x: [Tensor]) -> [[Double]] in
        (0..<3).map { part in moved(x[0], to: [2, 2]) { [$0[0], $0[1] + 2 * part] } }
      }
    ) { try split($0[0], 3) },
    OperatorCase(
      "split by sizes", [.random([7, 3])],
      reference: { (x: [Tensor]) -> [[Double]] in
        let values = x[0].doubles
        return [Array(values[..<6]), Array(values[6..<18]), Array(values[18...])]
      }
    ) { try split($0[0], [2, -1, 1], axis: 0) },
    OperatorCase("split, one part used", [.random([2, 6, 3])]) {
      [try split($0[0], 3, axis: 1)[1]]
    },
  ]

  static let windows: [OperatorCase] = [
    OperatorCase(
      "slice", [.random([5, 4, 3])],
      reference: { (x: [Tensor]) -> [[Double]] in
        [moved(x[0], to: [3, 4, 2]) { [$0[0] + 1, $0[1], $0[2] + 1] }]
      }
    ) { [try slice($0[0], axes: [0, 2], starts: [1, -2], ends: [-1, 100])] },
    OperatorCase("slice clamps", [.random([5, 4])], reference: { [$0[0].doubles] }) {
      [try slice($0[0], axes: [0], starts: [-100], ends: [100])]
    },
    OperatorCase(
      "pad", [.random([3, 2])],
      reference: { (x: [Tensor]) -> [[Double]] in
        let inside = moved(x[0], to: [4, 5], outside: 1.5) { at -> [Int]? in
          at[0] >= 1 && (2..<4).contains(at[1]) ? [at[0] - 1, at[1] - 2] : nil
        }
        return [inside]
      }
    ) { [try pad($0[0], [1, 0, 2, 1], value: 1.5)] },
    OperatorCase(
      "pad2d NCHW", [.random([2, 3, 4, 5])],
      reference: { (x: [Tensor]) -> [[Double]] in
        let inside = moved(x[0], to: [2, 3, 7, 8]) { at -> [Int]? in
          (1..<5).contains(at[2]) && at[3] < 5 ? [at[0], at[1], at[2] - 1, at[3]] : nil
        }
        return [inside]
      }
    ) { [try pad2d($0[0], [1, 2, 0, 3])] },
    OperatorCase("pad2d NHWC", [.random([2, 4, 5, 3])]) {
      [try pad2d($0[0], [1, 2, 0, 3], dataLayout: .nhwc)]
    },
  ]

  @Test(arguments: cases) func op(_ test: OperatorCase) throws { try test.check() }

  /// Every pair of element types, against the conversion of tensors in host memory.
  @Test(arguments: DType.allCases) func casts(_ target: DType) throws {
    let numbers: [Double] = [-300.75, -1.5, -0.25, 0, 0.5, 1, 2.75, 100, 127, 200, 70000]
    for source in DType.allCases {
      let x = Tensor((0..<300).map { numbers[$0 % numbers.count] }, shape: [300]).cast(to: source)
      let got = try evaluate([x]) { [try cast($0[0], to: target)] }[0]
      #expect(got == x.cast(to: target), "\(source) to \(target)")
    }
  }

  /// What moves bytes moves those of any type.
  @Test(arguments: [DType.uint8, .float16, .int32, .int64, .bool])
  func movesBytes(_ dtype: DType) throws {
    let numbers = (0..<24).map { Double($0 % 7) }
    let x = Tensor(numbers, shape: [2, 3, 4]).cast(to: dtype)
    let wide = x.cast(to: .float64)
    func both(_ build: @escaping ([Variable]) throws -> [Variable]) throws {
      let (got, wanted) = (try evaluate([x], build), try evaluate([wide], build))
      for (a, b) in zip(got, wanted) { #expect(a == b.cast(to: dtype)) }
    }
    try both { [try transpose($0[0], [2, 0, 1]), try reshape($0[0], [-1]), try assign($0[0])] }
    try both { try split(concat([$0[0], $0[0]], axis: 1), [4, 2], axis: 1) }
    try both { [try pad($0[0], [1, 0, 0, 1, 2, 2], value: 1)] }
    try both { [try slice($0[0], axes: [1, 2], starts: [1, -3], ends: [3, -1])] }
  }

  @Test func largeTransposesAgreeWithThePlainForm() throws {
    let shape: Shape = [3, 65, 1100]
    let random = CounterRandom(seed: 1, stream: 2)
    let x = Tensor(
      (0..<shape.elementCount).map { Float(random.uniform(UInt64($0))) }, shape: shape)
    let got = try evaluate([x]) { [try transpose($0[0], [0, 2, 1])] }[0]
    #expect(got.doubles == moved(x, to: [3, 1100, 65]) { [$0[0], $0[2], $0[1]] })
  }

  @Test func unknownBatch() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [-1, 3, 4, 4])
      #expect(try reshape(x, [0, -1]).shape == [-1, 48])
      #expect(try reshape(x, [-1, 48]).shape == [-1, 48])
      #expect(try reshape(x, [0, 0, 16]).shape == [-1, 3, 16])
      #expect(try flatten(x).shape == [-1, 48])
      #expect(try concat([x, x], axis: 1).shape == [-1, 6, 4, 4])
      #expect(try concat([x, x], axis: 0).shape == [-1, 3, 4, 4])
      #expect(try split(x, 3, axis: 1).map(\.shape) == Array(repeating: [-1, 1, 4, 4], count: 3))
      #expect(try transpose(x, [1, 0, 2, 3]).shape == [3, -1, 4, 4])
      #expect(try slice(x, axes: [0, 1], starts: [0, 1], ends: [2, 3]).shape == [-1, 2, 4, 4])
      #expect(try pad2d(x, [1, 1, 1, 1]).shape == [-1, 3, 6, 6])
    }
  }

  @Test func errorsSayWhatDoesNotFit() throws {
    try ProgramBuilder().build {
      let x = try data("x", shape: [2, 3, 4])
      expectError(.shape, ["[5, -1]", "[2, 3, 4]", "divide 24"]) { try reshape(x, [5, -1]) }
      expectError(.shape, ["[5, 5]", "24"]) { try reshape(x, [5, 5]) }
      expectError(.attribute, ["[-1, -1]"]) { try reshape(x, [-1, -1]) }
      expectError(.attribute, ["0 at position 3"]) { try reshape(x, [1, 1, 24, 0]) }
      expectError(.attribute, ["4", "0...3"]) { try flatten(x, axis: 4) }
      expectError(.attribute, ["[0, 0, 1]"]) { try transpose(x, [0, 0, 1]) }
      expectError(.attribute, ["3 axes"]) { try transpose(x, [1, 0]) }
      expectError(.attribute, ["-3...2"]) { try concat([x, x], axis: 3) }
      expectError(.shape, ["input 1", "[3, 2, 4]"]) {
        try concat([x, transpose(x, [1, 0, 2])], axis: 2)
      }
      expectError(.shape, ["3 at axis 1", "multiple of 2"]) { try split(x, 2, axis: 1) }
      expectError(.shape, ["[1, 1]", "2 together", "4"]) { try split(x, [1, 1]) }
      expectError(.shape, ["2..<2", "axis 1"]) {
        try slice(x, axes: [1], starts: [2], ends: [2])
      }
      expectError(.attribute, ["each axis once"]) {
        try slice(x, axes: [1, -2], starts: [0, 0], ends: [1, 1])
      }
      expectError(.attribute, ["4 numbers", "6"]) { try pad(x, [0, 0, 1, 1]) }
      expectError(.attribute, ["at least 0"]) { try pad(x, [0, 0, 1, 1, -1, 0]) }
      expectError(.dtype, ["float32 and int64"]) { try concat([x, cast(x, to: .int64)]) }
    }
  }
}
