import ABNOperators
import ABNRuntime
import ABNTensors

extension Scale: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    try c.flat(
      .scale(factor: factor, bias: bias, dtype, dtype),
      count: c.inputType(0).shape.elementCount,
      [try c.read(0, in: order), c.write(0, in: order)])
  }
}

extension FlatFormula {
  /// a * factor + bias, in float64: factor and product may be beyond float32 where the result is
  /// not. A product with a float32 alone is the same in float32.
  static func scale(factor: Double, bias: Double, _ from: DType, _ to: DType) -> FlatFormula {
    FlatFormula(
      [from], [to], "out = a * factor + bias;",
      isWide: bias != 0 || Double(Float(factor)) != factor,
      [("factor", .real(factor)), ("bias", .real(bias))])
  }
}
