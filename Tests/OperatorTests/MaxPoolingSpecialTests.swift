import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import InPlaceABN
import Testing

/// NaN wins a window and stays, minus infinity and the lowest number can win one, and each winner gets its
/// gradient: in every element type and layout, for windows, padded, adaptive and global ones.
@Suite struct MaxPoolingSpecialTests {
  /// A pooling of images of 4 x 6, and its windows: the rows and columns under each output, in order.
  struct Way: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let rows, columns: [Range<Int>]
    let build: @Sendable (Variable, DataLayout) throws -> Variable
  }

  static let ways: [Way] = [
    Way(testDescription: "window", rows: [0..<2, 2..<4], columns: [0..<2, 2..<4, 4..<6]) {
      try pool2d($0, poolSize: 2, poolStride: 2, dataLayout: $1)
    },
    Way(
      testDescription: "padded and overlapping", rows: [0..<2, 1..<4],
      columns: [0..<2, 1..<4, 3..<6]
    ) { try pool2d($0, poolSize: 3, poolStride: 2, poolPadding: 1, dataLayout: $1) },
    Way(testDescription: "adaptive", rows: [0..<2, 2..<4], columns: [0..<3, 3..<6]) {
      try adaptivePool2d($0, poolSize: 2, dataLayout: $1)
    },
    Way(
      testDescription: "uneven", rows: [0..<2, 1..<3, 2..<4], columns: [0..<2, 1..<3, 3..<5, 4..<6]
    ) {
      try adaptivePool2d($0, poolSize: [3, 4], dataLayout: $1)
    },
    Way(testDescription: "global", rows: [0..<4], columns: [0..<6]) {
      try pool2d($0, globalPooling: true, dataLayout: $1)
    },
  ]

  /// Where the channels of [2, 16, 4, 6] stand.
  enum Place: CaseIterable { case second, last, blocks }

  /// y, and the place that wins, of one plane of 4 x 6.
  static func winners(_ x: ArraySlice<Double>, _ way: Way) -> [(value: Double, place: Int)] {
    way.rows.flatMap { rows in
      way.columns.map { columns in
        var best: (value: Double, place: Int)?
        for i in rows {
          for j in columns {
            let value = x[x.startIndex + 6 * i + j]
            guard let old = best else {
              best = (value, 6 * i + j)
              continue
            }
            if !old.value.isNaN, value.isNaN || value > old.value { best = (value, 6 * i + j) }
          }
        }
        return best!
      }
    }
  }

  static let dtypes: [DType] = [.float64, .float32, .float16, .bfloat16]

  @Test(arguments: ways, Place.allCases) func winnersKeepTheirGradient(
    _ way: Way, _ place: Place
  ) throws {
    for dtype in Self.dtypes {
      let lowest = -dtype.largest
      // Nothing special, one of them here and there, and nothing else at all.
      for (special, share) in [
        (0, 0), (Double.nan, 0.1), (-Double.infinity, 0.6), (.infinity, 0.2), (lowest, 0.6),
        (lowest, 1), (-.infinity, 1), (.nan, 1),
      ] as [(Double, Double)] {
        try check(way, place, dtype, special, share)
      }
    }
  }

  private func check(
    _ way: Way, _ place: Place, _ dtype: DType, _ special: Double, _ share: Double
  ) throws {
    let source = CounterRandom(seed: soakSeed, stream: 9)
    let shape: Shape = [2, 16, 4, 6]
    let numbers = (0..<shape.elementCount).map { index -> Double in
      let isSpecial = source.uniform(UInt64(2 * index)) < share
      // Few bits, so that there are ties.
      return isSpecial ? special : (source.uniform(UInt64(2 * index + 1)) * 32).rounded() - 16
    }
    let outputs = way.rows.count * way.columns.count
    let builder = ProgramBuilder()
    let (x, y, loss) = try builder.build {
      let x = try data("x", shape: shape, dtype: dtype, stopsGradient: false)
      let w = try data("w", shape: [2, 16, way.rows.count, way.columns.count], dtype: dtype)
      let y: Variable
      switch place {
      case .second: y = try way.build(x, .nchw)
      case .last: y = try transpose(way.build(transpose(x, [0, 2, 3, 1]), .nhwc), [0, 3, 1, 2])
      case .blocks: y = try blocked(way.build(blocked(x), .nchw))
      }
      return (x, y, try reduceSum(elementwiseMul(y, w)))
    }
    let weights = (0..<32 * outputs).map { Double($0 % 13 + 1) }
    let got = try run(
      builder,
      feed: [
        "x": Tensor(numbers, shape: shape).cast(to: dtype),
        "w": Tensor(weights, shape: [2, 16, way.rows.count, way.columns.count]).cast(to: dtype),
      ], loss: loss, of: x, fetch: [y])
    var wanted = [Double](repeating: 0, count: numbers.count)
    let values = got.fetched[0].doubles
    for plane in 0..<32 {
      for (index, best) in Self.winners(numbers[24 * plane..<24 * (plane + 1)], way).enumerated() {
        let value = values[plane * outputs + index]
        #expect(
          value == best.value || value.isNaN && best.value.isNaN,
          "\(way) \(place) \(dtype) \(special) plane \(plane) output \(index): \(value), wanted \(best.value)"
        )
        wanted[24 * plane + best.place] += weights[plane * outputs + index]
      }
    }
    #expect(got.gradient.doubles == wanted, "\(way) \(place) \(dtype) \(special) \(share)")
  }

  /// The sum under a window of large numbers is beyond float32, their average is not.
  @Test(arguments: ways) func averagesDoNotOverflow(_ way: Way) throws {
    for dtype in Self.dtypes {
      let x = Tensor([Double](repeating: dtype.largest, count: 24 * 16), shape: [1, 16, 4, 6])
      let got = try evaluate([x.cast(to: dtype)]) { x in
        [
          try pool2d(x[0], poolSize: 2, poolType: .average, poolStride: 2),
          try adaptivePool2d(x[0], poolSize: [3, 4], poolType: .average),
          try pool2d(x[0], poolType: .average, globalPooling: true),
          try blocked(pool2d(blocked(x[0]), poolSize: 3, poolType: .average, poolPadding: 1)),
        ]
      }
      guard dtype != .float64 else { continue }
      for y in got { #expect(y.doubles.allSatisfy { $0 == dtype.largest }, "\(dtype)") }
    }
  }
}
