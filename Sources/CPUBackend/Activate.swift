import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension Activate: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    c.step(arguments, run: try c.flat(.activation(function), c.inputType(0), inputs: 1))
  }
}

extension ActivateGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    // The derivative is told from x, or from y of the same sign.
    c.step(
      arguments,
      run: try c.flat(.gradient(forward.function), c.inputType(1), inputs: 2))
  }
}
