import ABNGraph
import ABNOperations
import ABNRuntime
import ABNTensors

// Eight elements make one byte of the mask, the first of them the lowest bit, in the order in which
// y stands in memory: the mask carries y's layout along.

extension MaskedActivate: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let type = c.inputType(0)
    let arguments = [try c.read(0, in: layout), c.write(0, in: layout), c.write(1, in: layout)]
    c.step(
      arguments, run: try c.float(type.dtype, run(type, Float.self), run(type, Double.self)))
  }

  private func run<T: CPUFloat>(_ type: TensorType, _: T.Type) -> @Sendable (StepPointers) -> Void {
    let a = T(forward.alpha)
    switch forward.function {
    case .relu: return masking(type) { (x: T) in (x > 0 || x != x ? x : 0, x > 0) }
    case .relu6:
      return masking(type) { (x: T) in (x > 6 ? 6 : x > 0 || x != x ? x : 0, x > 0 && x < 6) }
    default: return masking(type) { (x: T) in (x > 0 ? x : a * x, x > 0) }
    }
  }

  @inline(__always)
  private func masking<T: CPUFloat>(
    _ type: TensorType, _ f: @escaping @Sendable (T) -> (T, Bool)
  ) -> @Sendable (StepPointers) -> Void {
    let (count, dtype) = (type.shape.elementCount, type.dtype)
    return { p in
      let mask = p(2, as: UInt8.self)
      // Grains and tiles are multiples of 8: no byte has two writers.
      Parallel.ranges(count) { range in
        if dtype.is16Bits {
          forEachTile(of: range) { part, room, _ in
            dtype.widen(p[0] + 2 * part.lowerBound, part.count, into: room)
            let own = elements(room, T.self)
            applyMasking(own, own, mask + part.lowerBound / 8, part.count, f)
            dtype.narrow(room, part.count, into: p[1] + 2 * part.lowerBound)
          }
        } else {
          let first = range.lowerBound
          applyMasking(
            p(0, as: T.self) + first, p(1, as: T.self) + first, mask + first / 8, range.count, f)
        }
      }
    }
  }
}

/// y = f(x), and the bits of f, eight to a byte.
@inline(__always)
private func applyMasking<T: CPUFloat>(
  _ x: UnsafePointer<T>, _ y: UnsafeMutablePointer<T>, _ mask: UnsafeMutablePointer<UInt8>,
  _ count: Int, _ f: (T) -> (T, Bool)
) {
  var first = 0
  while first < count {
    var bits: UInt8 = 0
    for bit in 0..<min(8, count - first) {
      let (value, isOne) = f(x[first + bit])
      y[first + bit] = value
      bits |= (isOne ? 1 : 0) << UInt8(truncatingIfNeeded: bit)
    }
    mask[first / 8] = bits
    first += 8
  }
}

extension MaskedActivateGradient: CPULowerable {
  static var takes16Bits: Bool { true }

  func lower(_ c: inout LoweringContext) throws {
    let layout = c.layout(ofInput: 0)
    let type = c.inputType(1)
    let arguments = [
      try c.read(0, in: layout), try c.read(1, in: layout), c.write(0, in: layout),
    ]
    c.step(
      arguments, run: try c.float(type.dtype, run(type, Float.self), run(type, Double.self)))
  }

  private func run<T: CPUFloat>(
    _ type: TensorType, _: T.Type
  ) -> @Sendable (StepPointers) -> Void {
    let (count, dtype) = (type.shape.elementCount, type.dtype)
    let isLeaky = forward.function == .leakyReLU
    let slope: T = isLeaky ? T(forward.alpha) : 0
    @inline(__always)
    @Sendable func apply(
      _ mask: UnsafePointer<UInt8>, _ dy: UnsafePointer<T>, _ dx: UnsafeMutablePointer<T>,
      _ count: Int
    ) {
      for i in 0..<count {
        let isOne = mask[i / 8] >> UInt8(truncatingIfNeeded: i % 8) & 1 == 1
        // Where the derivative is 0 an infinite dy gives 0, not NaN, as without the mask.
        dx[i] = isOne ? dy[i] : isLeaky ? slope * dy[i] : 0
      }
    }
    return { p in
      let mask = p(0, as: UInt8.self)
      Parallel.ranges(count) { range in
        if dtype.is16Bits {
          forEachTile(of: range) { part, room, _ in
            dtype.widen(p[1] + 2 * part.lowerBound, part.count, into: room)
            let own = elements(room, T.self)
            apply(mask + part.lowerBound / 8, own, own, part.count)
            dtype.narrow(room, part.count, into: p[2] + 2 * part.lowerBound)
          }
        } else {
          let first = range.lowerBound
          apply(mask + first / 8, p(1, as: T.self) + first, p(2, as: T.self) + first, range.count)
        }
      }
    }
  }
}
