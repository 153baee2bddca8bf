import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension Cast: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let (from, to) = (c.inputType(0), c.outputType(0))
    let layout = c.layout(ofInput: 0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    guard from.dtype != to.dtype else {
      c.step(arguments, run: viewStep(bytes: to.bytes))
      return
    }
    let count = to.shape.elementCount
    if let (source, target) = flatTypes(from.dtype, to.dtype) {
      let copy = try FlatKernel(.copy, in: source == .float64 ? .float64 : .float32)
      c.step(arguments) { p in
        copy(FlatOperands(FlatOperand(p[0], source), FlatOperand(p[1], target)), count: count)
      }
      return
    }
    let (load, store) = (loader(from.dtype), storer(to.dtype))
    c.step(arguments) { p in
      // By way of float64, a few at a time. Exact for every pair but int64 above 2^53, which is
      // rounded once more where the target is neither int64 nor float64.
      Parallel.ranges(count) { range in
        withUnsafeTemporaryAllocation(of: Double.self, capacity: 128) { buffer in
          let values = buffer.baseAddress!
          var first = range.lowerBound
          while first < range.upperBound {
            let part = first..<min(first + 128, range.upperBound)
            load(p[0], part, values)
            store(values, part, p[1])
            first = part.upperBound
          }
        }
      }
    }
  }
}

/// Two floating-point types between which a flat loop rounds once.
private func flatTypes(_ from: DType, _ to: DType) -> (ABNElement, ABNElement)? {
  guard let source = from.element, let target = to.element else { return nil }
  return source == .float64 && to.is16Bits ? nil : (source, target)
}

/// Reads a range of elements as float64.
private typealias Loader =
  @Sendable (UnsafeMutableRawPointer, Range<Int>, UnsafeMutablePointer<Double>) -> Void
/// Writes a range of elements from float64.
private typealias Storer =
  @Sendable (UnsafeMutablePointer<Double>, Range<Int>, UnsafeMutableRawPointer) -> Void

@inline(__always)
private func load<T: TensorScalar>(_: T.Type) -> Loader {
  { from, range, values in
    let x = from.assumingMemoryBound(to: T.self) + range.lowerBound
    for i in 0..<range.count { values[i] = x[i].tensorValue }
  }
}

@inline(__always)
private func store<T: TensorScalar>(_: T.Type) -> Storer {
  { values, range, to in
    let y = to.assumingMemoryBound(to: T.self) + range.lowerBound
    for i in 0..<range.count { y[i] = T(tensorValue: values[i]) }
  }
}

private func loader(_ dtype: DType) -> Loader {
  switch dtype {
  case .float16: load(Float16.self)
  case .bfloat16: load(BFloat16.self)
  case .float32: load(Float.self)
  case .float64: load(Double.self)
  case .int8: load(Int8.self)
  case .uint8: load(UInt8.self)
  case .int32: load(Int32.self)
  case .int64: load(Int64.self)
  case .bool: load(Bool.self)
  }
}

private func storer(_ dtype: DType) -> Storer {
  switch dtype {
  case .float16: store(Float16.self)
  case .bfloat16: store(BFloat16.self)
  case .float32: store(Float.self)
  case .float64: store(Double.self)
  case .int8: store(Int8.self)
  case .uint8: store(UInt8.self)
  case .int32: store(Int32.self)
  case .int64: store(Int64.self)
  case .bool: store(Bool.self)
  }
}

extension Assign: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout)]
    c.step(arguments, run: viewStep(bytes: c.outputType(0).bytes))
  }
}

extension ZerosLike: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let type = c.outputType(0)
    let count = type.shape.elementCount
    c.step([c.write(0)]) { p in parallelFill(p[0], 0, type.dtype, count: count) }
  }
}
