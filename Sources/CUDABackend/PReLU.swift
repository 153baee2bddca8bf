import ABNOperators
import ABNRuntime
import ABNTensors

extension PReLU: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (x, slopes) = (c.inputType(0), c.inputType(1))
    let dtype = try c.floatType(ofInput: 0)
    let walk = slopeWalk(x.shape, slopes.shape)
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    let formula = FlatFormula([dtype, slopes.dtype], [dtype], "out = a > Num(0) ? a : b * a;")
    c.launch(arguments, [try c.flatLaunch(formula, over: walk, [0, 1, 2])])
  }
}

extension PReLUGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (x, slopes) = (c.inputType(0), c.inputType(1))
    let dtype = try c.floatType(ofInput: 0)
    let walk = slopeWalk(x.shape, slopes.shape)
    let arguments = [try c.read(0), try c.read(1), try c.read(2), c.write(0), c.write(1)]
    let formula = FlatFormula(
      [dtype, slopes.dtype, dtype], [dtype, c.outputType(1).dtype],
      "out = a > Num(0) ? c : b * c; second = a > Num(0) ? Num(0) : a * c;")
    c.launch(arguments, [try c.flatLaunch(formula, over: walk, [0, 1, 2, 3, 4])])
  }
}

/// The walk over x, slopes broadcast to it, and x again (or dy).
private func slopeWalk(_ x: Shape, _ slopes: Shape) -> FlatWalk {
  FlatWalk(x, in: .rowMajor, [(x, .rowMajor), (slopes, .rowMajor), (x, .rowMajor)])
}
