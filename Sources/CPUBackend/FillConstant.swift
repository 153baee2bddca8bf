import ABNOperations
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
    let dtype = c.inputType(0).dtype
    if dtype.is16Bits {
      c.step(arguments) { p in
        Parallel.ranges(count) { range in
          forEachTile(of: range) { part, sum, term in
            let first = 2 * part.lowerBound
            dtype.widen(p[0] + first, part.count, into: sum)
            for index in 1..<terms {
              dtype.widen(p[index] + first, part.count, into: term)
              for i in 0..<part.count { sum[i] += term[i] }
            }
            // Finite terms whose partial sums overflow.
            for i in 0..<part.count where terms > 2 && !sum[i].isFinite {
              var total = 0.0
              for index in 0..<terms {
                dtype.widen(p[index] + first + 2 * i, 1, into: term)
                total += Double(term[0])
              }
              sum[i] = Float(total)
            }
            dtype.narrow(sum, part.count, into: p[terms] + first)
          }
        }
      }
      return
    }
    func run<T: CPUFloat>(_: T.Type) -> @Sendable (StepPointers) -> Void {
      { p in
        let out = p(terms, as: T.self)
        // The term that shares its bytes with the result is read before the element is written. Two
        // and three terms, the usual numbers, have loops that become vectors. More than two are added
        // in float64, where partial sums do not overflow.
        let (a, b) = (p(0, as: T.self), p(min(1, terms - 1), as: T.self))
        let c = p(min(2, terms - 1), as: T.self)
        Parallel.ranges(count) { range in
          switch terms {
          case 2: for i in range { out[i] = a[i] + b[i] }
          case 3: for i in range { out[i] = T(Double(a[i]) + Double(b[i]) + Double(c[i])) }
          default:
            for i in range {
              var sum = Double(a[i])
              for term in 1..<terms { sum += Double(p(term, as: T.self)[i]) }
              out[i] = T(sum)
            }
          }
        }
      }
    }
    c.step(
      arguments, run: try c.float(dtype, run(Float.self), run(Double.self)))
  }
}
