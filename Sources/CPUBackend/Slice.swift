import ABNOperators
import ABNTensors

/// Where a slice of a tensor starts, in elements.
private func start(of ranges: [Range<Int>?], in shape: Shape) -> Int {
  zip(ranges, shape.strides).reduce(0) { $0 + $1.0!.lowerBound * $1.1 }
}

extension Slice: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (x, out) = (c.inputType(0).shape, c.outputType(0))
    let copy = StridedCopy(
      out.shape, from: x.strides, fromStart: start(of: try ranges(in: x), in: x),
      to: out.shape.strides, elementBytes: out.dtype.bytes)
    let arguments = [try c.read(0), c.write(0)]
    c.step(arguments) { p in copy.run(from: p[0], to: p[1]) }
  }
}

extension SliceGradient: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (dout, dx) = (c.inputType(0).shape, c.outputType(0))
    let copy = StridedCopy(
      dout, from: dout.strides, to: dx.shape.strides,
      toStart: start(of: try forward.ranges(in: dx.shape), in: dx.shape),
      elementBytes: dx.dtype.bytes)
    let count = dx.shape.elementCount
    let arguments = [try c.read(0), c.write(0)]
    c.step(arguments) { p in
      parallelFill(p[1], 0, dx.dtype, count: count)
      copy.run(from: p[0], to: p[1])
    }
  }
}

extension Pad: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (x, out) = (c.inputType(0).shape, c.outputType(0))
    let strides = out.shape.strides
    let copy = StridedCopy(
      x, from: x.strides, to: strides,
      toStart: zip(before, strides).reduce(0) { $0 + $1.0 * $1.1 },
      elementBytes: out.dtype.bytes)
    let (count, value) = (out.shape.elementCount, value)
    let arguments = [try c.read(0), c.write(0)]
    c.step(arguments) { p in
      parallelFill(p[1], value, out.dtype, count: count)
      copy.run(from: p[0], to: p[1])
    }
  }
}
