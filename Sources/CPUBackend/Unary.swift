import ABNOperations
import ABNRuntime
import Numerics

extension Unary: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let count = c.inputType(0).shape.elementCount
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      switch function {
      case .square: mapStep(count) { $0.each { (x: T) in x * x } }
      case .sqrt: mapStep(count) { $0.each { (x: T) in x.squareRoot() } }
      case .exp: mapStep(count) { $0.each { (x: T) in T.exp(x) } }
      case .log: mapStep(count) { $0.each { (x: T) in T.log(x) } }
      case .abs: mapStep(count) { $0.each { (x: T) in x.magnitude } }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension UnaryGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let count = c.outputType(0).shape.elementCount
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    // `v` is y where the forward operation says so, else x.
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      switch forward.function {
      case .square: zipStep(count) { $0.each { (v: T, dy: T) in 2 * v * dy } }
      case .sqrt: zipStep(count) { $0.each { (v: T, dy: T) in dy / (2 * v) } }
      case .exp: zipStep(count) { $0.each { (v: T, dy: T) in v * dy } }
      case .log: zipStep(count) { $0.each { (v: T, dy: T) in dy / v } }
      case .abs: zipStep(count) { $0.each { (v: T, dy: T) in v > 0 ? dy : v < 0 ? -dy : v * dy } }
      }
    }
    c.step(arguments, run: try c.float(c.outputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
