import ABNOperators
import ABNRuntime
import ABNTensors

extension ExponentialAverageUpdate: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0), try c.read(2)]
    let parameter = try c.floatType(ofInput: 0)
    let sum = parameter.accumulation
    var formula = FlatFormula(
      [parameter, sum], [sum], "out = isFirst ? a : b + share * (a - b);",
      [("decay", .double(decay))])
    formula.scalars = [("updates", .int64)]
    formula.setup = """
        const f64 number = (f64)*updates, early = number / (9.0 + number);
        const bool isFirst = *updates <= 1;
        const Num share = (Num)(1.0 - (early < decay ? early : decay));
      """
    let elements = c.inputType(0).shape.elementCount
    c.launch(arguments, [try c.flatLaunch(formula, count: elements, [0, 1, 1, 2])])
  }
}

extension ApplyExponentialAverage: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    // The backup is not read: it need not be there before.
    _ = try c.read(0)
    let written = [c.write(0), c.write(1)]
    let arguments = written + [try c.read(2), try c.read(3)]
    let parameter = try c.floatType(ofInput: 0)
    var formula = FlatFormula(
      [parameter, parameter.accumulation], [parameter, parameter],
      "out = *updates > 0 ? b : a; second = a;")
    formula.scalars = [("updates", .int64)]
    let elements = c.inputType(0).shape.elementCount
    c.launch(arguments, [try c.flatLaunch(formula, count: elements, [0, 2, 0, 1, 3])])
  }
}
