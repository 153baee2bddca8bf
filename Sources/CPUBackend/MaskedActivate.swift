import ABNOperations
import ABNRuntime
import ABNTensors

// Eight elements make one byte of the mask, the first of them the lowest bit, in the order in which
// y stands in memory: the mask carries y's layout along.

extension MaskedActivate: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let count = c.inputType(0).shape.elementCount
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout), c.write(1, in: layout)]
    c.step(
      arguments,
      run: try c.float(c.inputType(0).dtype, run(count, Float.self), run(count, Double.self)))
  }

  private func run<T: CPUFloat>(_ count: Int, _ type: T.Type) -> @Sendable (StepPointers) -> Void {
    let a = T(forward.alpha)
    switch forward.function {
    case .relu: return masking(count) { (x: T) in (x > 0 || x != x ? x : 0, x > 0) }
    case .relu6:
      return masking(count) { (x: T) in (x > 6 ? 6 : x > 0 || x != x ? x : 0, x > 0 && x < 6) }
    default: return masking(count) { (x: T) in (x > 0 ? x : a * x, x > 0) }
    }
  }

  @inline(__always)
  private func masking<T: CPUFloat>(
    _ count: Int, _ f: @escaping @Sendable (T) -> (T, Bool)
  ) -> @Sendable (StepPointers) -> Void {
    { p in
      let (x, y, mask) = (p(0, as: T.self), p(1, as: T.self), p(2, as: UInt8.self))
      // Grains are multiples of 8: no byte has two writers.
      Parallel.ranges(count) { range in
        var first = range.lowerBound
        while first < range.upperBound {
          var bits: UInt8 = 0
          for bit in 0..<min(8, range.upperBound - first) {
            let (value, isOne) = f(x[first + bit])
            y[first + bit] = value
            bits |= (isOne ? 1 : 0) << UInt8(truncatingIfNeeded: bit)
          }
          mask[first / 8] = bits
          first += 8
        }
      }
    }
  }
}

extension MaskedActivateGradient: CPULowerable {
  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let count = c.inputType(1).shape.elementCount
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    c.step(
      arguments,
      run: try c.float(c.inputType(1).dtype, run(count, Float.self), run(count, Double.self)))
  }

  private func run<T: CPUFloat>(_ count: Int, _ type: T.Type) -> @Sendable (StepPointers) -> Void {
    let slope: T = forward.function == .leakyReLU ? T(forward.alpha) : 0
    let isLeaky = forward.function == .leakyReLU
    return { p in
      let (mask, dy, dx) = (p(0, as: UInt8.self), p(1, as: T.self), p(2, as: T.self))
      Parallel.ranges(count) { range in
        for i in range {
          let isOne = mask[i / 8] >> UInt8(truncatingIfNeeded: i % 8) & 1 == 1
          // Where the derivative is 0 an infinite dy gives 0, not NaN, as without the mask.
          dx[i] = isOne ? dy[i] : isLeaky ? slope * dy[i] : 0
        }
      }
    }
  }
}
