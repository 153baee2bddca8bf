import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension ExponentialAverageUpdate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0), try c.read(2)]
    let type = c.inputType(0)
    let (count, element) = (type.shape.elementCount, try c.element(type.dtype))
    let kind = self
    c.step(arguments) { p in
      let (parameter, average) = (FlatOperand(p[0], element), FlatOperand(p[1], element))
      let number = p(2, as: Int64.self)[0]
      guard number > 1 else {
        try FlatKernel(.copy, in: element)(FlatOperands(parameter, average), count: count)
        return
      }
      // average - rate * (parameter - average), with a rate below 0.
      let difference = FlatOperation.Treatment(
        minimum: -.infinity, maximum: .infinity, scale: 1, l1: 0, l2: -1)
      try FlatKernel(.sgd(difference, rate: -kind.share(update: number)), in: element)(
        FlatOperands(average, parameter, average), count: count)
    }
  }
}

extension ApplyExponentialAverage: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let type = c.inputType(0)
    let bytes = type.bytes
    // The backup is not read: it need not be there before.
    _ = try c.read(0)
    let written = [c.write(0), c.write(1)]
    let arguments = written + [try c.read(2), try c.read(3)]
    c.step(arguments) { p in
      parallelCopy(from: p[0], to: p[1], bytes: bytes)
      if p(3, as: Int64.self)[0] > 0 { parallelCopy(from: p[2], to: p[0], bytes: bytes) }
    }
  }
}
