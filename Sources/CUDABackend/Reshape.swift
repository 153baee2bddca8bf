import ABNOperators
import ABNRuntime

extension Reshape: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws { try lowerView(&c) }
}

extension Flatten: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws { try lowerView(&c) }
}

extension ReshapeGradient: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws { try lowerView(&c) }
}

/// Output 0 has the row-major bytes of input 0: nothing is done where the plan lets them share.
private func lowerView(_ c: inout CUDAContext) throws {
  let copy = try StridedCopy.bytes(c.outputType(0).bytes, c, from: 0, to: 1)
  let arguments = [try c.read(0), c.write(0)]
  c.step(arguments) { device, p in
    if p[0] != p[1] { try copy.run(device, p) }
  }
}
