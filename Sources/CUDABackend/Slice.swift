import ABNOperators
import ABNTensors

/// Where a slice of a tensor starts, in elements.
private func start(of ranges: [Range<Int>?], _ strides: [Int]) -> Int {
  zip(ranges, strides).reduce(0) { $0 + $1.0!.lowerBound * $1.1 }
}

extension Slice: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (x, out, order) = (c.inputType(0).shape, c.outputType(0), c.order(ofInput: 0))
    let copy = try StridedCopy(
      out.shape, from: order.strides(x),
      fromStart: start(of: try ranges(in: x), order.strides(x)),
      to: order.strides(out.shape), elementBytes: out.dtype.bytes)
    let arguments = [try c.read(0, in: order), c.write(0, in: order)]
    c.launch(arguments, [try copy.launch(c, from: 0, to: 1)])
  }
}

extension SliceGradient: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (dout, dx, order) = (c.inputType(0).shape, c.outputType(0), c.order(ofInput: 0))
    let strides = order.strides(dx.shape)
    let copy = try StridedCopy(
      dout, from: order.strides(dout), to: strides,
      toStart: start(of: try forward.ranges(in: dx.shape), strides), elementBytes: dx.dtype.bytes)
    let arguments = [try c.read(0, in: order), c.write(0, in: order)]
    c.launch(
      arguments,
      [try StridedCopy.fill(1, dx, value: 0, c), try copy.launch(c, from: 0, to: 1)])
  }
}

extension Pad: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (x, out, order) = (c.inputType(0).shape, c.outputType(0), c.order(ofInput: 0))
    let strides = order.strides(out.shape)
    let copy = try StridedCopy(
      x, from: order.strides(x), to: strides,
      toStart: zip(before, strides).reduce(0) { $0 + $1.0 * $1.1 }, elementBytes: out.dtype.bytes)
    let arguments = [try c.read(0, in: order), c.write(0, in: order)]
    c.launch(
      arguments,
      [try StridedCopy.fill(1, out, value: value, c), try copy.launch(c, from: 0, to: 1)])
  }
}
