import ABNOperators
import ABNRuntime
import ABNTensors

extension Elementwise: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (x, y, out) = (c.inputType(0).shape, c.inputType(1).shape, c.outputType(0).shape)
    let dtype = try c.floatType(ofInput: 0)
    let sign =
      switch function {
      case .add: "+"
      case .subtract: "-"
      case .multiply: "*"
      case .divide: "/"
      }
    let formula = FlatFormula([dtype, dtype], [dtype], "out = a \(sign) b;")
    // The order of an operand that is not broadcast, so that it need not be changed.
    let order = x == out ? c.order(ofInput: 0) : y == out ? c.order(ofInput: 1) : .rowMajor
    let orders = [x, y].enumerated().map { $1 == out ? order : c.order(ofInput: $0) }
    let aligned = try alignedShape(y, to: x)
    // Ones behind y make its channels another axis.
    let orderOfY = aligned.rank == y.rank || y.rank < 3 ? orders[1] : .rowMajor
    let arguments = [
      try c.read(0, in: orders[0]), try c.read(1, in: orderOfY), c.write(0, in: order),
    ]
    let walk = FlatWalk(out, in: order, [(x, orders[0]), (aligned, orderOfY)])
    c.launch(arguments, [try c.flatLaunch(formula, over: walk, [0, 1, 2])])
  }
}

extension DivisorGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (x, y, out) = (c.inputType(1).shape, c.inputType(2).shape, c.outputType(0).shape)
    let dtype = try c.floatType(ofInput: 0)
    let aligned = try Elementwise(.divide, axis: axis).alignedShape(y, to: x)
    let walk = FlatWalk(
      out, in: .rowMajor, [(x, .rowMajor), (aligned, .rowMajor), (out, .rowMajor)])
    // In float64: each quotient may be beyond float32 where the product is not.
    let formula = FlatFormula(
      [dtype, dtype, dtype], [dtype], "out = -(c / b) * (a / b);", isWide: true)
    let arguments = [try c.read(1), try c.read(2), try c.read(0), c.write(0)]
    c.launch(arguments, [try c.flatLaunch(formula, over: walk, [0, 1, 2, 3])])
  }
}
