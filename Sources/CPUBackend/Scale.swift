import ABNOperations
import ABNRuntime

extension Scale: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let loop = FlatLoop(c.inputType(0))
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    let (factor, bias) = (factor, bias)
    func run<T: CPUFloat>(_ type: T.Type) -> @Sendable (StepPointers) -> Void {
      // In float64: factor and product may be beyond float32 where the result is not.
      loop.map { $0.each { (x: T) in T(factor * Double(x) + bias) } }
    }
    c.step(
      arguments,
      run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
