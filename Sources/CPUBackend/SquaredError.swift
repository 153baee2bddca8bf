import ABNOperations
import ABNRuntime

extension SquaredError: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let count = c.outputType(0).shape.elementCount
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, y, out) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
        Parallel.ranges(count) { range in
          for i in range { out[i] = (x[i] - y[i]) * (x[i] - y[i]) }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}

extension SquaredErrorGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let count = c.outputType(0).shape.elementCount
    let arguments = try (0..<3).map { try c.read($0, in: layout) } + [c.write(0, in: layout)]
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let (x, y, dout) = (p(0, as: T.self), p(1, as: T.self), p(2, as: T.self))
        let dx = p(3, as: T.self)
        Parallel.ranges(count) { range in
          // In float64: the difference may be beyond float32 where the product is not.
          for i in range { dx[i] = T(2 * (Double(x[i]) - Double(y[i])) * Double(dout[i])) }
        }
      }
    }
    c.step(arguments, run: try c.float(c.inputType(0).dtype, run(Float.self), run(Double.self)))
  }
}
