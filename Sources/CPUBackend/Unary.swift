import ABNOperations
import ABNRuntime
import Numerics

extension Unary: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let loop = FlatLoop(c.inputType(0))
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      switch function {
      case .square: loop.map { $0.each { (x: T) in x * x } }
      case .sqrt: loop.map { $0.each { (x: T) in x.squareRoot() } }
      case .exp: loop.map { $0.each { (x: T) in T.exp(x) } }
      case .log: loop.map { $0.each { (x: T) in T.log(x) } }
      case .abs: loop.map { $0.each { (x: T) in x.magnitude } }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension UnaryGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let loop = FlatLoop(c.outputType(0))
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    // `v` is y where the forward operation says so, else x.
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      switch forward.function {
      case .square: loop.zip { $0.each { (v: T, dy: T) in 2 * (v * dy) } }
      case .sqrt: loop.zip { $0.each { (v: T, dy: T) in dy / (2 * v) } }
      // In float64: exp(x) may be beyond float32 where the product is not.
      case .exp:
        loop.zip { $0.each { (v: T, dy: T) in T(Double.exp(Double(v)) * Double(dy)) } }
      case .log: loop.zip { $0.each { (v: T, dy: T) in dy / v } }
      case .abs: loop.zip { $0.each { (v: T, dy: T) in v > 0 ? dy : v < 0 ? -dy : v * dy } }
      }
    }
    c.step(arguments, run: try c.float(c.outputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
