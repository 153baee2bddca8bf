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
    case .add: zipStep(count) { (x: T, y: T) in x + y }
    case .subtract: zipStep(count) { (x: T, y: T) in x - y }
    case .multiply: zipStep(count) { (x: T, y: T) in x * y }
    case .divide: zipStep(count) { (x: T, y: T) in x / y }
    }
  }

  private func strided<T: CPUFloat>(
    _ loop: StridedLoop, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    switch function {
    case .add: stridedZip(loop) { (x: T, y: T) in x + y }
    case .subtract: stridedZip(loop) { (x: T, y: T) in x - y }
    case .multiply: stridedZip(loop) { (x: T, y: T) in x * y }
    case .divide: stridedZip(loop) { (x: T, y: T) in x / y }
    }
  }
}

/// out = f(x, y) over a loop nest with operands x, y, out; out is row-major.
@inline(__always)
private func stridedZip<T: CPUFloat>(
  _ loop: StridedLoop, _ f: @escaping @Sendable (T, T) -> T
) -> @Sendable (StepPointers) -> Void {
  let (inner, outer) = (loop.inner, loop.outer)
  let (sx, sy) = (loop.innerStride(0), loop.innerStride(1))
  return { p in
    Parallel.ranges(outer, grain: max(1, 16384 / inner)) { rows in
      for row in rows {
        let x = p(0, as: T.self) + loop.offset(0, row: row)
        let y = p(1, as: T.self) + loop.offset(1, row: row)
        let out = p(2, as: T.self) + row * inner
        // The usual strides each get a loop that the compiler can turn into vectors.
        switch (sx, sy) {
        case (1, 1): for i in 0..<inner { out[i] = f(x[i], y[i]) }
        case (1, 0):
          let scalar = y[0]
          for i in 0..<inner { out[i] = f(x[i], scalar) }
        case (0, 1):
          let scalar = x[0]
          for i in 0..<inner { out[i] = f(scalar, y[i]) }
        default: for i in 0..<inner { out[i] = f(x[i * sx], y[i * sy]) }
        }
      }
    }
  }
}
