import ABNOperators
import ABNRuntime
import ABNTensors

extension AverageAccumulate: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let inputs = try (0..<7).map { try c.read($0) }
    let arguments = [inputs[0]] + (0..<6).map { c.write($0) }
    let parameter = try c.floatType(ofInput: 0)
    let sum = parameter.accumulation
    let windows: [(name: String, value: FlatParameter)] = [
      ("leastWindow", .integer(minimumWindow)), ("mostWindow", .integer(maximumWindow)),
      ("rate", .double(rate)),
    ]
    var formula = FlatFormula(
      [parameter, sum, sum, sum], [sum, sum, sum],
      """
      out = b + a;
              second = c;
              third = d;
              if (moves) {
                second = out + second;
                out = Num(0);
              }
              if (closes) {
                third = out + second;
                out = second = Num(0);
              }
      """, windows)
    formula.scalars = [("accumulated", .int64), ("updates", .int64)]
    formula.setup = """
        const i64 update = *updates + 1, inWindow = *accumulated + 1;
        const f64 share = (f64)update * rate, most = (f64)mostWindow;
        const bool moves = update % 16384 == 0;
        const bool closes =
            inWindow >= leastWindow && (f64)inWindow >= (share < most ? share : most);
      """
    let count = try KernelLaunch(
      c.kernel([.counters], "countAverage"), blocks: 1, threads: 1,
      [
        .pointer(4), .pointer(5), .pointer(6), .i64(Int64(minimumWindow)),
        .i64(Int64(maximumWindow)), .f64(rate),
      ])
    let elements = c.inputType(0).shape.elementCount
    c.launch(
      arguments,
      [try c.flatLaunch(formula, count: elements, [0, 1, 2, 3, 1, 2, 3, 4, 6]), count])
  }
}

extension ApplyAverage: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    // The backup is not read: it need not be there before.
    _ = try c.read(0)
    let written = [c.write(0), c.write(1)]
    let arguments = written + (try (2..<7).map { try c.read($0) })
    let parameter = try c.floatType(ofInput: 0)
    let sum = parameter.accumulation
    var formula = FlatFormula(
      [parameter, sum, sum, sum], [parameter, parameter],
      "out = updates > 0 ? (b + c + d) / divisor : a; second = a;")
    formula.scalars = [("accumulated", .int64), ("old", .int64)]
    formula.setup = """
        const i64 updates = *accumulated + *old;
        const Num divisor = (Num)(f64)updates;
      """
    let elements = c.inputType(0).shape.elementCount
    c.launch(
      arguments, [try c.flatLaunch(formula, count: elements, [0, 2, 3, 4, 0, 1, 5, 6])])
  }
}

extension RestoreParameter: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    try c.copy([try c.read(1), c.write(0)], bytes: c.inputType(0).bytes)
  }
}
