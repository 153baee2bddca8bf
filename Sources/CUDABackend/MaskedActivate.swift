import ABNActivations
import ABNGraph
import ABNOperators
import ABNRuntime

// Eight elements make one byte of the mask, the first of them the lowest bit, in the order in which
// y stands in memory: the mask carries y's order along.

extension MaskedActivate: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, order) = (try c.floatType(ofInput: 0), c.order(ofInput: 0))
    let function = forward.function
    let isOne = function == .relu6 ? "a > Num(0) && Num(6) > a" : "a > Num(0)"
    var formula = FlatFormula(
      function, [dtype], [dtype],
      "out = activate<\(function.number)>(a, alpha); second = \(isOne) ? Num(1) : Num(0);")
    formula.outputs.append(.bits)
    try c.flat(
      formula, count: c.inputType(0).shape.elementCount,
      [try c.read(0, in: order), c.write(0, in: order), c.write(1, in: order)])
  }
}

extension MaskedActivateGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dtype, maker) = (try c.floatType(ofInput: 1), c.maker(ofInput: 0))
    // The order of y is that of the bits; a mask of another origin is row-major.
    let order =
      maker?.kind is MaskedActivate ? c.home(of: maker!.outputs[0]) : .rowMajor
    // Where the derivative is 0 an infinite dy gives 0, not NaN, as without the mask.
    let slope = forward.function.alpha
    var formula = FlatFormula(
      [dtype], [dtype],
      slope == nil
        ? "out = a > Num(0) ? b : Num(0);" : "out = a > Num(0) ? b : slope * b;",
      slope.map { [("slope", .real($0))] } ?? [])
    formula.inputs.insert(.bits, at: 0)
    try c.flat(
      formula, count: c.inputType(1).shape.elementCount,
      [try c.read(0), try c.read(1, in: order), c.write(0, in: order)])
  }
}
