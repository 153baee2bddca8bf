import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension PReLU: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let loop = slopeLoop(x: c.inputType(0).shape, slopes: c.inputType(1).shape)
    let arguments = [try c.read(0), try c.read(1), c.write(0)]
    c.step(arguments, run: try c.flat(.prelu, over: loop, c.inputType(0).dtype))
  }
}

extension PReLUGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let loop = slopeLoop(x: c.inputType(0).shape, slopes: c.inputType(1).shape)
    let element = try c.element(c.inputType(0).dtype)
    let arguments = [try c.read(0), try c.read(1), try c.read(2), c.write(0), c.write(1)]
    let kernel = try FlatKernel(.preluGradient, in: element)
    c.step(arguments) { p in
      loop.forEachPlane { plane, range in
        func array(_ index: Int) -> FlatOperand { loop.operand(0, plane, p[index], element) }
        var operands = FlatOperands(
          array(0), loop.operand(1, plane, p[1], element), array(2), array(3))
        operands.second = array(4)
        kernel(operands, range, length: loop.inner)
      }
    }
  }
}

/// The nest over x (row-major), slopes broadcast to it, and the result.
private func slopeLoop(x: Shape, slopes: Shape) -> StridedLoop {
  StridedLoop(x, [x.strides, StridedLoop.broadcastStrides(of: slopes, to: x), x.strides])
}
