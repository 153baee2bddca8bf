import ABNKernels
import ABNOperators
import ABNRuntime

extension Unary: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    let op: FlatOperation =
      switch function {
      case .square: .square
      case .sqrt: .squareRoot
      case .exp: .exponential
      case .log: .logarithm
      case .abs: .magnitude
      }
    c.step(arguments, run: try c.flat(op, c.inputType(0), inputs: 1))
  }
}

extension UnaryGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    let op: FlatOperation =
      switch forward.function {
      case .square: .squareGradient
      case .sqrt: .squareRootGradient
      case .exp: .exponentialGradient
      case .log: .logarithmGradient
      case .abs: .magnitudeGradient
      }
    // exp(x) may be beyond float32 where the product is not.
    c.step(
      arguments,
      run: try c.flat(
        op, c.outputType(0), inputs: 2, isWide: forward.function == .exp))
  }
}
