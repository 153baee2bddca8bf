import ABNOperators
import ABNTensors

extension Transpose: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    let (from, to) = (c.inputType(0).shape.strides, c.outputType(0))
    let copy = try StridedCopy(
      to.shape, from: permutation.map { from[$0] }, to: to.shape.strides,
      elementBytes: to.dtype.bytes)
    let arguments = [try c.read(0), c.write(0)]
    c.launch(arguments, [try copy.launch(c, from: 0, to: 1)])
  }
}
