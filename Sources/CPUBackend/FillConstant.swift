import ABNKernels
import ABNOperators
import ABNRuntime
import ABNTensors

extension FillConstant: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let count = type.shape.elementCount
    let argument = c.write(0)
    let value = value
    func fill<T: TensorScalar>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      let scalar = T(tensorValue: value)
      return { p in p(0, as: T.self).update(repeating: scalar, count: count) }
    }
    let run =
      switch type.dtype {
      case .float16: fill(Float16.self)
      case .bfloat16: fill(BFloat16.self)
      case .float32: fill(Float.self)
      case .float64: fill(Double.self)
      case .int8: fill(Int8.self)
      case .uint8: fill(UInt8.self)
      case .int32: fill(Int32.self)
      case .int64: fill(Int64.self)
      case .bool: fill(Bool.self)
      }
    c.step([argument], run: run)
  }
}

extension SumOf: CPULowerable {
  var walk: ImageWalk { .anyOrder }
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let count = c.inputType(0).shape.elementCount
    let terms = c.inputCount
    let arguments =
      try (0..<terms).map { try c.read($0, in: layout) } + [c.write(0, in: layout)]
    let (type, element) = (c.inputType(0), try c.element(c.inputType(0).dtype))
    if terms == 2 {
      c.step(arguments, run: try c.flat(.add, type, inputs: 2))
      return
    }
    // More than two are added in float64, where partial sums do not overflow.
    if terms == 3 {
      c.step(arguments, run: try c.flat(.addThree, type, inputs: 3, isWide: true))
      return
    }
    let add = try FlatKernel(.add, in: element, isWide: true)
    let copy = try FlatKernel(.copy, in: element, isWide: true)
    let tile = 1024
    c.step(arguments) { p in
      Parallel.ranges(count) { range in
        withUnsafeTemporaryAllocation(of: Double.self, capacity: tile) { room in
          let sum = FlatOperand(UnsafeRawPointer(room.baseAddress!), .float64)
          for first in stride(from: range.lowerBound, to: range.upperBound, by: tile) {
            let own = 0..<min(tile, range.upperBound - first)
            func term(_ index: Int) -> FlatOperand {
              FlatOperand(p[index] + first * element.bytes, element)
            }
            // The term that shares its bytes with the result is read before they are written.
            copy(FlatOperands(term(0), sum), own)
            for index in 1..<terms { add(FlatOperands(sum, term(index), sum), own) }
            copy(FlatOperands(sum, term(terms)), own)
          }
        }
      }
    }
  }
}
