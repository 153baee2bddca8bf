import ABNOperators
import ABNRuntime

extension SquaredError: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    c.step(arguments, run: try c.flat(.squaredError, c.outputType(0), inputs: 2))
  }
}

extension SquaredErrorGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = try (0..<3).map { try c.read($0, in: layout) } + [c.write(0, in: layout)]
    // In float64: the difference may be beyond float32 where the product is not.
    c.step(
      arguments,
      run: try c.flat(.squaredErrorGradient, c.outputType(0), inputs: 3, isWide: true))
  }
}
