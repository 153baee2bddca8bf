import ABNOperators

extension Transpose: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (from, to) = (c.inputType(0).shape.strides, c.outputType(0))
    let copy = StridedCopy(
      to.shape, from: permutation.map { from[$0] }, to: to.shape.strides,
      elementBytes: to.dtype.bytes)
    let arguments = [try c.read(0), c.write(0)]
    c.step(arguments) { p in copy.run(from: p[0], to: p[1]) }
  }
}
