import ABNOperators
import ABNRuntime
import ABNTensors

extension AccumulateGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0)]
    let gradient = try c.floatType(ofInput: 0)
    let sum = gradient.accumulation
    let formula = FlatFormula([gradient, sum], [sum], "out = b + a;")
    let elements = c.inputType(0).shape.elementCount
    c.launch(arguments, [try c.flatLaunch(formula, count: elements, [0, 1, 1])])
  }
}

extension MeanGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0), c.write(1)]
    let gradient = try c.floatType(ofInput: 0)
    let sum = gradient.accumulation
    // In float64: the share of a count is none of float32's numbers, but for powers of 2.
    let formula = FlatFormula(
      [gradient, sum], [gradient, sum],
      "out = (Num)((f64)(b + a) * share); second = Num(0);", [("share", .double(1 / Double(count)))]
    )
    let elements = c.inputType(0).shape.elementCount
    c.launch(arguments, [try c.flatLaunch(formula, count: elements, [0, 2, 1, 2])])
  }
}
