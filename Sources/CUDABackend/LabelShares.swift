import ABNOperators
import ABNRuntime
import ABNTensors

/// The most classes whose weights a kernel has among its text.
private let mostClasses = 4096

extension LabelShares: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (shape, dtype) = (c.inputType(0).shape, c.outputType(0).dtype)
    guard weights.count <= mostClasses, dtype == dtype.accumulation else {
      throw ABNError(
        .unsupported, "label_shares on a card", got: "\(weights.count) classes, \(dtype)",
        wanted: "at most \(mostClasses) classes, float32 or float64",
        fix: "Run this program on the processor.")
    }
    let count = shape.elementCount
    var formula = FlatFormula(
      [.int64], [dtype],
      "out = a == ignored || a < Num(0) || a >= Num(\(weights.count)) ? Num(0) : weights[(int)a];",
      [("ignored", .real(Double(ignoreIndex)))])
    formula.setup = "  const f64 weights[] = {\(weights.map { "\($0)" }.joined(separator: ", "))};"
    let own = c.intermediate("weights", bytes: count * dtype.bytes)
    let total = c.intermediate("their sum", bytes: dtype.bytes)
    try c.flat(formula, count: count, [c.read(0), .write(own)])
    let sum = try Summation(
      shape, strides: shape.strides, over: Set(0..<shape.rank), dtype)
    try sum.append(to: &c, from: .read(own), to: .write(total))
    var share = FlatFormula([dtype], [dtype], "out = sum > Num(0) ? a / sum : Num(0);")
    share.scalars = [("total", dtype)]
    share.setup = "  const Num sum = (Num)total[0];"
    let arguments = [.read(own), c.write(0), .read(total)]
    c.launch(arguments, [try c.flatLaunch(share, count: count, [0, 1, 2])])
  }
}
