import ABNOperators
import ABNRuntime

extension ActivateGradientOfSum: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 1), c.order(ofInput: 1))
    // A product with a slope of 0 would make NaN of infinity.
    let body =
      slope == 0
      ? "out = a > Num(0) ? b + c : Num(0);" : "out = a > Num(0) ? b + c : (b + c) * slope;"
    let arguments = try (0..<3).map { try c.read($0, in: order) } + [c.write(0, in: order)]
    try c.flat(
      FlatFormula(
        [dtype, dtype, dtype], [dtype], body, slope == 0 ? [] : [("slope", .real(slope))]),
      count: c.inputType(1).shape.elementCount, arguments)
  }
}
