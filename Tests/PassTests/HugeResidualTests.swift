import ABNTestSupport
import InPlaceABN
import Testing

/// A residual sum whose other term is so large that its square leaves float32's range, or that nothing of the
/// layer's output is left in it: the output is kept, and the layer's gradients are those out of place.
@Suite struct HugeResidualTests {
  @Test(arguments: [1e3, 1e10, 1e18, 1e20, 1e25, 1e37]) func gradientsAreThoseOutOfPlace(
    _ size: Double
  ) throws {
    let shape: Shape = [2, 3, 4, 5]
    let random = CounterRandom(seed: 11, stream: 4)
    func numbers(_ first: Int, _ factor: Double = 1) -> Tensor {
      Tensor(
        (0..<shape.elementCount).map {
          Float((random.uniform(UInt64($0 + first)) - 0.5) * factor)
        }, shape: shape)
    }
    let feed = [
      "x": numbers(0), "v": numbers(200, size), "w": numbers(400), "q": numbers(600, 1e-38),
    ]
    func gradients(inPlace: Bool) throws -> (values: [[Double]], subtracts: Bool) {
      let builder = ProgramBuilder()
      let fetches = try builder.build {
        let x = try data("x", shape: shape, stopsGradient: false)
        let u = try inPlace ? inplaceABN(x) : batchNorm(x)
        let v = try data("v", shape: shape)
        let z = try leakyReLU(elementwiseAdd(u, v), alpha: 0.1)
        // A gradient that reads v, so that it is there when u is computed back.
        let q = try data("q", shape: shape, stopsGradient: false)
        let loss = try sums([
          reduceSum(elementwiseMul(z, data("w", shape: shape))), reduceSum(elementwiseMul(v, q)),
        ])
        let wanted =
          builder.main.parameters.filter { $0.parameterTraits?.trainable == true } + [x, q]
        let result = try builder.main.differentiated(loss, withRespectTo: wanted)
        builder.replaceMain { $0 = result.program }
        return try wanted.map { try #require(result.gradients[$0.id]) }
      }
      let executor = Executor(backend: CPUBackend())
      let scope = Scope()
      try executor.run(builder.startup, scope: scope)
      let values = try executor.run(builder.main, feed: feed, fetch: fetches, scope: scope)
      let decisions = try executor.compile(
        builder.main, feed: feed.mapValues(\.shape), fetch: fetches
      ).decisions
      return (values.map(\.doubles), decisions.contains { $0.action == .subtracted })
    }
    let (got, subtracts) = try gradients(inPlace: true)
    let (wanted, _) = try gradients(inPlace: false)
    #expect(subtracts)
    for (a, b) in zip(got, wanted) { expectClose(a, b, tolerance: 1e-5, "v of \(size)") }
  }
}
