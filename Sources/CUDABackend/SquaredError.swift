import ABNOperators
import ABNRuntime

extension SquaredError: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    try c.flat(
      FlatFormula([dtype, dtype], [dtype], "out = (a - b) * (a - b);"),
      count: c.outputType(0).shape.elementCount,
      [try c.read(0, in: order), try c.read(1, in: order), c.write(0, in: order)])
  }
}

extension SquaredErrorGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    let arguments = try (0..<3).map { try c.read($0, in: order) } + [c.write(0, in: order)]
    // In float64: the difference may be beyond float32 where the product is not.
    try c.flat(
      FlatFormula(
        [dtype, dtype, dtype], [dtype], "out = Num(2) * (a - b) * c;", isWide: true),
      count: c.outputType(0).shape.elementCount, arguments)
  }
}
