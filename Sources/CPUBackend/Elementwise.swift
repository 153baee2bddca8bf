import ABNOperations
import ABNRuntime
import ABNTensors

extension Elementwise: CPULowerable {
  static var takes16Bits: Bool { true }

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
          dtype, flat(FlatLoop(c.outputType(0)), Float.self),
          flat(FlatLoop(c.outputType(0)), Double.self)))
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
      run: try c.float(
        dtype, strided(loop, dtype, Float.self), strided(loop, dtype, Double.self)))
  }

  private func flat<T: CPUFloat>(_ loop: FlatLoop, _: T.Type) -> @Sendable (StepPointers) -> Void {
    switch function {
    case .add: loop.zip { $0.each { (x: T, y: T) in x + y } }
    case .subtract: loop.zip { $0.each { (x: T, y: T) in x - y } }
    case .multiply: loop.zip { $0.each { (x: T, y: T) in x * y } }
    case .divide: loop.zip { $0.each { (x: T, y: T) in x / y } }
    }
  }

  private func strided<T: CPUFloat>(
    _ loop: StridedLoop, _ dtype: DType, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    switch function {
    case .add: stridedZipStep(loop, dtype) { $0.each { (x: T, y: T) in x + y } }
    case .subtract: stridedZipStep(loop, dtype) { $0.each { (x: T, y: T) in x - y } }
    case .multiply: stridedZipStep(loop, dtype) { $0.each { (x: T, y: T) in x * y } }
    case .divide: stridedZipStep(loop, dtype) { $0.each { (x: T, y: T) in x / y } }
    }
  }
}
