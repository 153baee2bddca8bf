import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension AccumulateGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0)]
    let type = c.inputType(0)
    let (count, element) = (type.shape.elementCount, try c.element(type.dtype))
    let add = try FlatKernel(.add, in: element)
    c.step(arguments) { p in
      let (gradient, sum) = (FlatOperand(p[0], element), FlatOperand(p[1], element))
      add(FlatOperands(sum, gradient, sum), count: count)
    }
  }
}

extension MeanGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    _ = try c.read(1)
    let arguments = [try c.read(0), c.write(0), c.write(1)]
    let type = c.inputType(0)
    let (elements, element) = (type.shape.elementCount, try c.element(type.dtype))
    let add = try FlatKernel(.add, in: element)
    // In float64: the share of a count is none of float32's numbers, but for powers of 2.
    let scale = try FlatKernel(
      .scale(factor: 1 / Double(count), bias: 0), in: element, isWide: true)
    c.step(arguments) { p in
      func array(_ index: Int) -> FlatOperand { FlatOperand(p[index], element) }
      add(FlatOperands(array(2), array(0), array(1)), count: elements)
      scale(FlatOperands(array(1), array(1)), count: elements)
      p[2].initializeMemory(as: UInt8.self, repeating: 0, count: elements * element.bytes)
    }
  }
}
