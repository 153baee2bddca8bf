import ABNOperations
import ABNRuntime
import ABNTensors

extension PReLU: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let loop = slopeLoop(x: c.inputType(0).shape, slopes: c.inputType(1).shape)
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, slopes, out) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
        forEachRow(loop) { start, slopeStart, inner in
          let (x, out, slope) = (x + start, out + start, slopes + slopeStart)
          if loop.innerStride(1) == 0 {
            let a = slope[0]
            for i in 0..<inner { out[i] = x[i] > 0 ? x[i] : a * x[i] }
          } else {
            for i in 0..<inner { out[i] = x[i] > 0 ? x[i] : slope[i] * x[i] }
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension PReLUGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let loop = slopeLoop(x: c.inputType(0).shape, slopes: c.inputType(1).shape)
    let arguments = [try c.read(0), try c.read(1), try c.read(2), c.write(0), c.write(1)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, slopes, dy) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
        let (dx, terms) = (p(3, as: T.self), p(4, as: T.self))
        forEachRow(loop) { start, slopeStart, inner in
          let slope = slopes + slopeStart
          let stride = loop.innerStride(1)
          for i in start..<start + inner {
            // Both are read before either is written: dx may stand over dy, terms over x.
            let (value, gradient) = (x[i], dy[i])
            dx[i] = value > 0 ? gradient : slope[(i - start) * stride] * gradient
            terms[i] = value > 0 ? 0 : value * gradient
          }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

/// The nest over x (row-major) and slopes broadcast to it.
private func slopeLoop(x: Shape, slopes: Shape) -> StridedLoop {
  StridedLoop(x, [x.strides, StridedLoop.broadcastStrides(of: slopes, to: x)])
}

/// Calls `body` for stretches of innermost loops with the starts of x and slopes, and the length.
private func forEachRow(_ loop: StridedLoop, _ body: (Int, Int, Int) -> Void) {
  let (inner, stride) = (loop.inner, loop.innerStride(1))
  loop.forEachStretch { row, range in
    let first = range.lowerBound
    body(row * inner + first, loop.offset(1, row: row) + first * stride, range.count)
  }
}
