import ABNKernels
import ABNOperators
import ABNRuntime

// Eight elements make one byte of the mask, the first of them the lowest bit, in the order in which
// y stands in memory: the mask carries y's layout along.

extension MaskedActivate: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let (type, element) = (c.inputType(0), try c.element(c.inputType(0).dtype))
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout), c.write(1, in: layout)]
    let kernel = try FlatKernel(.masked(forward.function), in: element)
    let count = type.shape.elementCount
    c.step(arguments) { p in
      var operands = FlatOperands(FlatOperand(p[0], element), FlatOperand(p[1], element))
      operands.second = .bits(p[2])
      kernel(operands, count: count)
    }
  }
}

extension MaskedActivateGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let (type, element) = (c.inputType(1), try c.element(c.inputType(1).dtype))
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    // Where the derivative is 0 an infinite dy gives 0, not NaN, as without the mask.
    let slope = forward.function.alpha
    let kernel = try FlatKernel(.unmask(slope: slope), in: element)
    let count = type.shape.elementCount
    c.step(arguments) { p in
      kernel(
        FlatOperands(.bits(p[0]), FlatOperand(p[1], element), FlatOperand(p[2], element)),
        count: count)
    }
  }
}
