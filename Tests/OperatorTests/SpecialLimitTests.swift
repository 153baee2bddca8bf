import ABNChecking
import ABNGraph
import ABNLayers
import ABNOperators
import ABNTensors
import ABNTestSupport
import Foundation
import InPlaceABN
import Testing

/// Values at the limits, written down: what the table of special values compares with float64 is right there.
@Suite struct SpecialLimitTests {
  static let dtypes: [DType] = [.float64, .float32, .float16, .bfloat16]

  /// An activation's values and derivatives at minus and plus infinity; nil: the argument itself.
  struct Limits: Sendable, CustomTestStringConvertible {
    let act: Activation
    var alpha = 1.0
    let left: Double
    let right: Double?
    let slopes: (left: Double, right: Double)
    var testDescription: String { "\(act) \(alpha)" }
  }

  static let limits: [Limits] = [
    Limits(act: .relu, left: 0, right: nil, slopes: (0, 1)),
    Limits(act: .relu6, left: 0, right: 6, slopes: (0, 0)),
    Limits(act: .leakyReLU(), alpha: 0, left: 0, right: nil, slopes: (0, 1)),
    Limits(act: .elu(), left: -1, right: nil, slopes: (0, 1)),
    Limits(act: .elu(), alpha: 0.25, left: -0.25, right: nil, slopes: (0, 1)),
    Limits(act: .sigmoid, left: 0, right: 1, slopes: (0, 0)),
    Limits(act: .tanh, left: -1, right: 1, slopes: (0, 0)),
    Limits(act: .swish, left: 0, right: nil, slopes: (0, 1)),
    Limits(act: .gelu, left: 0, right: nil, slopes: (0, 1)),
    Limits(act: .hardSwish, left: 0, right: nil, slopes: (0, 1)),
    Limits(act: .mish, left: 0, right: nil, slopes: (0, 1)),
  ]

  @Test(arguments: limits) func infinitiesAndTheLargest(_ limits: Limits) throws {
    for dtype in Self.dtypes {
      let far = [-Double.infinity, -dtype.largest, -dtype.largest / 2]
      let values = far + far.map { -$0 } + [.nan]
      let builder = ProgramBuilder()
      let (x, y, loss) = try builder.build {
        let x = try data("x", shape: [7], dtype: dtype, stopsGradient: false)
        let y = try activation(x, limits.act.with(alpha: limits.alpha))
        return (x, y, try reduceSum(y))
      }
      let got = try run(
        builder, feed: ["x": Tensor(values, shape: [7]).cast(to: dtype)], loss: loss, of: x,
        fetch: [y])
      let (y0, dx) = (got.fetched[0].doubles, got.gradient.doubles)
      for i in 0..<6 {
        let wanted = i < 3 ? limits.left : limits.right ?? values[i]
        #expect(y0[i] == wanted, "\(limits) \(dtype) at \(values[i]): \(y0[i])")
        let slope = i < 3 ? limits.slopes.left : limits.slopes.right
        #expect(dx[i] == slope, "\(limits) \(dtype) at \(values[i]): derivative \(dx[i])")
      }
      #expect(y0[6].isNaN, "\(limits) \(dtype)")
    }
  }

  /// The formulas themselves, in float64, where nothing in them overflows or cancels.
  @Test func formulas() throws {
    let values = (0..<121).map { 0.4 * Double($0 - 60) + 0.01 }
    let plain: [(Activation, (Double) -> Double)] = [
      (.sigmoid, { 1 / (1 + Foundation.exp(-$0)) }), (.tanh, { Foundation.tanh($0) }),
      (.swish, { $0 / (1 + Foundation.exp(-$0)) }),
      (.gelu, { $0 * 0.5 * Foundation.erfc(-$0 / 2.squareRoot()) }),
      (.hardSwish, { $0 * min(max($0 + 3, 0), 6) / 6 }),
      (.mish, { $0 * Foundation.tanh(Foundation.log1p(Foundation.exp($0))) }),
    ]
    for (act, f) in plain {
      let y = try evaluate([Tensor(values, shape: [121])]) { [try activation($0[0], act)] }[0]
      for (x, value) in zip(values, y.doubles) {
        // exp(-x^2 / 2) loses the digits of x^2.
        let tolerance = 0x1p-53 * (32 + 4 * x * x)
        #expect(
          abs(value - f(x)) <= tolerance * abs(f(x)), "\(act) at \(x): \(value), wanted \(f(x))")
      }
    }
  }

  /// Sums whose parts are beyond the type and whose result is not.
  @Test(arguments: [1, 2, 20, 300]) func sumsOfTheLargest(_ half: Int) throws {
    for dtype in [DType.float32, .bfloat16] {
      let top = dtype.largest
      func tensor(_ values: [Double], _ shape: Shape) -> Tensor {
        Tensor(values, shape: shape).cast(to: dtype)
      }
      let row = [Double](repeating: top, count: 2 * half)
      // One more above than below, the ones above first.
      let mixed = [Double](repeating: top, count: half + 1) + row.prefix(half).map { -$0 }
      let columns = mixed.flatMap { [$0, $0 / 2, -$0] }
      let got = try evaluate([
        tensor(row, [2 * half]), tensor(mixed, [2 * half + 1]), tensor(columns, [2 * half + 1, 3]),
        tensor([-top], [1]), tensor([top], [1]), tensor([top, top, top, top], [1, 1, 2, 2]),
      ]) { x in
        [
          try mean(x[0]), try reduceSum(x[1]), try reduceSum(x[2], axes: [0]),
          try sums([x[4], x[4], x[3]]), try sums([x[4], x[4], x[3], x[4], x[3]]),
          try scale(x[4], factor: 2, bias: -top), try resizeBilinear(x[5], outShape: [7, 5]),
        ]
      }
      let wanted: [[Double]] = [
        [top], [top], [top, top / 2, -top], [top], [top], [top],
        [Double](repeating: top, count: 35),
      ]
      for (index, (a, b)) in zip(got, wanted).enumerated() {
        expectClose(a.doubles, b, tolerance: 4 * dtype.unitOfRounding, "\(dtype) \(index)")
      }
    }
  }

  /// Gradients whose factors are beyond float32 and whose product is not.
  @Test func productsOfGradients() throws {
    let values = [Tensor([Float(1e30)], shape: [1]), Tensor([Float(-3e38)], shape: [1])]
    func gradient(_ w: Float, _ build: ([Variable]) throws -> Variable) throws -> [Double] {
      let builder = ProgramBuilder()
      let (x, loss) = try builder.build {
        let x = try (0..<2).map { try data("x\($0)", shape: [1], stopsGradient: false) }
        let weight = try data("w", shape: [1])
        return (x, try reduceSum(elementwiseMul(build(x), weight)))
      }
      let result = try builder.main.differentiated(loss, withRespectTo: x)
      return try Executor(backend: CPUBackend()).run(
        result.program, feed: ["x0": values[0], "x1": values[1], "w": Tensor([w], shape: [1])],
        fetch: x.map { result.gradients[$0.id]! }, scope: Scope()
      ).map { $0.doubles[0] }
    }
    let (a, b) = (Double(Float(1e30)), Double(Float(-3e38)))
    let squared = try gradient(1e-20) { try squareErrorCost(scale($0[0], factor: -3e8), $0[1]) }
    let difference = 2 * (Double(Float(-3e8 * a)) - b) * Double(Float(1e-20))
    expectClose([squared[1]], [-difference], tolerance: 1e-6)
    // 1e30 / w, and -w 1e30 / 3e38^2.
    let quotient = try gradient(1e20) { try elementwiseDiv($0[0], $0[1]) }
    let w = Double(Float(1e20))
    expectClose([quotient[0]], [w / b], tolerance: 1e-6)
    expectClose([quotient[1]], [-w * a / b / b], tolerance: 1e-6)
  }
}
