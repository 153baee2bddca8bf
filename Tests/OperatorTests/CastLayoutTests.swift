import ABNActivations
import ABNCPUBackend
import ABNGraph
import ABNLayers
import ABNOperators
import ABNRuntime
import ABNTensors
import Testing

/// An image that a convolution left in blocks of channels, cast to each type and then used: the
/// numbers are those of the same program with every image row-major.
@Suite struct CastLayoutTests {
  /// What follows the cast, in the type that was cast to where that has such an operator.
  static let uses: [(name: String, build: @Sendable (Variable) throws -> Variable)] = [
    ("fetch", { $0 }),
    ("assign", { try assign($0) }),
    ("transpose", { try transpose($0, [0, 2, 3, 1]) }),
    ("reshape", { try reshape($0, [0, -1]) }),
    ("slice", { try slice($0, axes: [1], starts: [3], ends: [13]) }),
    ("concat", { try concat([$0, $0], axis: 1) }),
    ("split", { try split($0, 2, axis: 1)[1] }),
    ("pad", { try pad2d($0, [1, 0, 0, 2]) }),
    ("mean", { try mean(floating($0)) }),
    ("sum over channels", { try reduceSum(floating($0), axes: [1]) }),
    ("softmax", { try softmax(floating($0), axis: 1) }),
    ("pool", { try pool2d(floating($0), poolSize: 2, poolStride: 2) }),
    ("pool in NHWC", { try pool2d(floating($0), poolSize: 2, poolStride: 2, dataLayout: .nhwc) }),
    ("adaptive pool", { try adaptivePool2d(floating($0), poolSize: [3, 5], poolType: .average) }),
    ("resize", { try resizeBilinear(floating($0), outShape: [5, 9]) }),
    ("in place", { try inplaceABN(floating($0), act: .leakyReLU(slope: 1)) }),
    ("in place in NHWC", { try inplaceABN(floating($0), act: .elu(), dataLayout: .nhwc) }),
    ("conv", { try conv2d(floating($0), numFilters: 2, filterSize: 1) }),
    ("conv in NHWC", { try conv2d(floating($0), numFilters: 2, filterSize: 1, dataLayout: .nhwc) }),
  ]

  /// Integers and booleans as numbers that these layers take.
  private static func floating(_ x: Variable) throws -> Variable {
    x.dtype.isFloatingPoint ? x : try cast(x, to: .float32)
  }

  @Test(arguments: DType.allCases, uses.indices)
  func valuesAreThoseOfRows(_ dtype: DType, _ use: Int) throws {
    var results: [[Tensor]] = []
    for usesBlocks in [true, false] {
      let builder = ProgramBuilder(seed: 4)
      let fetched = try builder.build {
        let x = try data("x", shape: [2, 16, 8, 8])
        // Sums of few bits: exact, so that every type rounds the same numbers.
        func convolved(_ x: Variable) throws -> Variable {
          try conv2d(
            x, numFilters: 16, filterSize: 3, padding: 1,
            paramAttr: ParamAttr(initializer: .constant(0.125)), biasAttr: .absent)
        }
        let y = try convolved(x)
        return [try Self.uses[use].build(cast(y, to: dtype)), try convolved(y)]
      }
      let numbers = (0..<2048).map { Float(($0 * 37) % 23 - 8) }
      let (executor, scope) = (
        Executor(backend: CPUBackend(usesBlocks: usesBlocks), mode: .guarded), Scope()
      )
      try executor.run(builder.startup, scope: scope)
      results.append(
        try executor.run(
          builder.main, feed: ["x": Tensor(numbers, shape: [2, 16, 8, 8])], fetch: fetched,
          scope: scope))
    }
    #expect(
      results[0][0].shape == results[1][0].shape && results[0][0].dtype == results[1][0].dtype)
    let (got, wanted) = (results[0][0].doubles, results[1][0].doubles)
    let largest = wanted.reduce(0) { max($0, abs($1)) }
    #expect(zip(got, wanted).allSatisfy { abs($0 - $1) <= 1e-5 * largest })
    // All numbers are 1 as booleans, and normalized they are 0.
    #expect(largest > 0 || dtype == .bool)
  }
}
