import ABNOperators
import ABNRuntime

extension Scale: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    // In float64: factor and product may be beyond float32 where the result is not.
    c.step(
      arguments,
      run: try c.flat(
        .scale(factor: factor, bias: bias), c.inputType(0), inputs: 1, isWide: true))
  }
}
