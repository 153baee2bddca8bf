import ABNKernels
import ABNOperations
import ABNRuntime
import ABNTensors

extension ActivateGradientOfSum: CPULowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 1)
    let type = c.inputType(1)
    let count = type.shape.elementCount
    let arguments = try (0..<3).map { try c.read($0, in: layout) } + [c.write(0, in: layout)]
    let arithmetic = try c.float(
      type.dtype, try ABNResidual.of(Float.self), try ABNResidual.of(Double.self))
    let (slope, bytes) = (slope, type.dtype.bytes)
    c.step(arguments) { p in
      Parallel.ranges(count) { range in
        let first = range.lowerBound * bytes
        arithmetic.gradient(
          p[0] + first, p[1] + first, p[2] + first, into: p[3] + first, count: range.count,
          slope: slope)
      }
    }
  }
}
