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

  /// An infinite dz where y is positive is no part of the gradient of prelu's slope, in place as apart.
  @Test(arguments: [true, false], [DType.float32, .float64])
  func slopeGradient(inPlace: Bool, dtype: DType) throws {
    let builder = ProgramBuilder()
    let loss = try builder.build {
      let x = try data("x", shape: [4, 1], dtype: dtype)
      let z =
        inPlace
        ? try inplaceABN(x, act: .prelu, useGlobalStats: true)
        : try prelu(batchNorm(x, useGlobalStats: true))
      return try reduceSum(elementwiseMul(z, data("w", shape: [4, 1], dtype: dtype)))
    }
    let (executor, scope) = (Executor(backend: CPUBackend()), Scope())
    try executor.run(builder.startup, scope: scope)
    // The slope is the parameter that is made last.
    let slope = try #require(builder.main.parameters.last { $0.parameterTraits?.trainable == true })
    let d = try builder.main.differentiated(loss, withRespectTo: [slope])
    func tensor(_ values: [Double]) -> Tensor { Tensor(values, shape: [4, 1]).cast(to: dtype) }
    let got = try executor.run(
      d.program, feed: ["x": tensor([1, -1, 2, -3]), "w": tensor([.infinity, 1, 1, 1])],
      fetch: [d.gradients[slope.id]!], scope: scope)[0].doubles[0]
    // y is x / sqrt(1 + 1e-5).
    #expect((got + 4 / (1 + 1e-5).squareRoot()).magnitude < 1e-6, "\(got)")
  }
}
