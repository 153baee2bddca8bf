import ABNTestSupport
import InPlaceABN
import Testing

/// One infinite element with given statistics: wherever it stands in a run, the gradient of scale is what float64
/// arithmetic on x gives.
@Suite struct InfiniteElementTests {
  private func scaleGradient(
    _ x: [Double], _ act: Activation, inPlace: Bool, _ dtype: DType
  ) throws -> Double {
    let builder = ProgramBuilder()
    let shape = Shape([1, 1, x.count, 1])
    let loss = try builder.build {
      let x = try data("x", shape: shape, dtype: dtype)
      let scale = ParamAttr(name: "scale", initializer: .constant(1))
      let z =
        inPlace
        ? try inplaceABN(x, act: act, paramAttr: scale, useGlobalStats: true)
        : try batchNorm(x, paramAttr: scale, useGlobalStats: true)
      return try reduceSum(z)
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    let scale = builder.main.variable(named: "scale")!
    let d = try builder.main.differentiated(loss, withRespectTo: [scale])
    return try executor.run(
      d.program, feed: ["x": Tensor(x, shape: shape).cast(to: dtype)],
      fetch: [d.gradients[scale.id]!], scope: scope)[0].doubles[0]
  }

  @Test(arguments: [17, 20, 24, 31, 40]) func countsOnce(length: Int) throws {
    for place in 0..<length {
      var x = (0..<length).map { Double($0 % 7) }
      x[place] = .infinity
      for dtype in [DType.float32, .float64] {
        for inPlace in [true, false] {
          let got = try scaleGradient(x, .identity, inPlace: inPlace, dtype)
          #expect(got == .infinity, "\(dtype), place \(place) of \(length), in place \(inPlace)")
        }
      }
    }
  }
}
