import ABNOperators
import ABNRuntime

extension ActivateGradientOfSum: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let arguments = try (0..<3).map { try c.read($0, in: layout) } + [c.write(0, in: layout)]
    c.step(arguments, run: try c.flat(.residualGradient(slope: slope), c.inputType(1), inputs: 3))
  }
}
