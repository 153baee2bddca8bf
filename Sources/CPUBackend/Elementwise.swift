import ABNOperations
import ABNRuntime
import ABNTensors

extension Elementwise: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let (x, y, out) = (c.inputType(0).shape, c.inputType(1).shape, c.outputType(0).shape)
    let dtype = c.outputType(0).dtype
    if x == y {
      let layout = c.layout(ofInput: 0)
      let arguments = [
        try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
      ]
      c.step(
        arguments,
        run: try c.float(
          dtype, flat(out.elementCount, Float.self), flat(out.elementCount, Double.self)))
      return
    }
    let aligned = try alignedShape(y, to: x)
    let loop = StridedLoop(
      out,
      [
        StridedLoop.broadcastStrides(of: x, to: out),
        StridedLoop.broadcastStrides(of: aligned, to: out), out.strides,
      ])
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    c.step(
      arguments,
      run: try c.float(dtype, strided(loop, Float.self), strided(loop, Double.self)))
  }

  private func flat<T: CPUFloat>(_ count: Int, _: T.Type) -> @Sendable (StepPointers) -> Void {
    switch function {
    case .add: zipStep(count) { $0.each { (x: T, y: T) in x + y } }
    case .subtract: zipStep(count) { $0.each { (x: T, y: T) in x - y } }
    case .multiply: zipStep(count) { $0.each { (x: T, y: T) in x * y } }
    case .divide: zipStep(count) { $0.each { (x: T, y: T) in x / y } }
    }
  }

  private func strided<T: CPUFloat>(
    _ loop: StridedLoop, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    switch function {
    case .add: stridedZipStep(loop) { $0.each { (x: T, y: T) in x + y } }
    case .subtract: stridedZipStep(loop) { $0.each { (x: T, y: T) in x - y } }
    case .multiply: stridedZipStep(loop) { $0.each { (x: T, y: T) in x * y } }
    case .divide: stridedZipStep(loop) { $0.each { (x: T, y: T) in x / y } }
    }
  }
}
