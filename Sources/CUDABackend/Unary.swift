import ABNOperators
import ABNRuntime

extension Unary: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    let body =
      switch function {
      case .square: "out = a * a;"
      case .sqrt: "out = squareRoot(a);"
      case .exp: "out = exponential(a);"
      case .log: "out = logarithm(a);"
      case .abs: "out = magnitude(a);"
      }
    var formula = FlatFormula([dtype], [dtype], body)
    formula.files = [.activations]
    try c.flat(
      formula, count: c.inputType(0).shape.elementCount,
      [try c.read(0, in: order), c.write(0, in: order)])
  }
}

extension UnaryGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 1), c.order(ofInput: 1))
    let body =
      switch forward.function {
      case .square: "out = Num(2) * (a * b);"
      case .sqrt: "out = b / (a + a);"
      case .exp: "out = exponential(a) * b;"
      case .log: "out = b / a;"
      // a b where a is 0 or not a number.
      case .abs: "out = a > Num(0) ? b : Num(0) > a ? -b : a * b;"
      }
    // exp(x) may be beyond float32 where the product is not.
    var formula = FlatFormula([dtype, dtype], [dtype], body, isWide: forward.function == .exp)
    formula.files = [.activations]
    try c.flat(
      formula, count: c.inputType(1).shape.elementCount,
      [try c.read(0, in: order), try c.read(1, in: order), c.write(0, in: order)])
  }
}
