import ABNOperators
import ABNRuntime
import ABNTensors

extension Cast: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let (from, to) = (c.inputType(0), c.outputType(0))
    let order = c.order(ofInput: 0)
    let arguments = [try c.read(0, in: order), c.write(0, in: order)]
    guard from.dtype != to.dtype else { return try c.copy(arguments, bytes: to.bytes) }
    // By way of float64 where an integer or float64 takes part. Exact for every pair but int64
    // above 2^53, which is rounded once more where the target is neither int64 nor float64.
    try c.flat(
      FlatFormula([from.dtype], [to.dtype], "out = a;"), count: to.shape.elementCount, arguments)
  }
}

extension Assign: CUDALowerable {
  var walk: ImageWalk { .anyOrder }

  func lower(_ c: inout CUDAContext) throws {
    let order = c.order(ofInput: 0)
    let arguments = [try c.read(0, in: order), c.write(0, in: order)]
    try c.copy(arguments, bytes: c.outputType(0).bytes)
  }
}

extension ZerosLike: CUDALowerable {
  func lower(_ c: inout CUDAContext) throws {
    try c.fill(c.write(0), 0, c.outputType(0))
  }
}

extension CUDAContext {
  /// A step that copies the bytes of the first argument to the second; nothing is put on the stream
  /// where the plan gave both the same place.
  mutating func copy(_ arguments: [StepArgument], bytes: Int) throws {
    step(arguments) { device, pointers in
      let (source, target) = (pointers[0], pointers[1])
      guard source != target, bytes > 0 else { return }
      try device.driver.check(
        device.driver.copy(
          DeviceAddress(UInt(bitPattern: target)), DeviceAddress(UInt(bitPattern: source)), bytes,
          device.stream), "copy of \(bytes) bytes")
    }
  }
}
