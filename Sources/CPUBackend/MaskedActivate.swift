import ABNGraph
import ABNOperations
import ABNRuntime
import ABNTensors

// Eight elements make one byte of the mask, the first of them the lowest bit, in the order in which
// y stands in memory: the mask carries y's layout along.

extension MaskedActivate: CPULowerable {
  var walk: ImageWalk { .anyOrder }
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
    case .relu: return masking(type) { $0.each { (x: T) in (x > 0 || x != x ? x : 0, x > 0) } }
    case .relu6:
      return masking(type) {
        $0.each { (x: T) in (x > 6 ? 6 : x > 0 || x != x ? x : 0, x > 0 && x < 6) }
      }
    default: return masking(type) { $0.each { (x: T) in (x > 0 ? x : a * x, x > 0) } }
    }
  }

  /// A step whose `body` is `{ $0.each(f) }`.
  private func masking<T: CPUFloat>(
    _ type: TensorType, _ body: @escaping @Sendable (MaskRange<T>) -> Void
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
            body(MaskRange(x: own, y: own, mask: mask + part.lowerBound / 8, count: part.count))
            dtype.narrow(room, part.count, into: p[1] + 2 * part.lowerBound)
          }
        } else {
          let first = range.lowerBound
          body(
            MaskRange(
              x: p(0, as: T.self) + first, y: p(1, as: T.self) + first, mask: mask + first / 8,
              count: range.count))
        }
      }
    }
  }
}

/// Elements between two conversions of bytes and bits: both arrays stay in the first cache.
private let maskTile = 1024

/// Neighbouring elements, and the bytes that have their bits. The function is inlined into the loop
/// as in `MapRange`.
private struct MaskRange<T: CPUFloat> {
  let x: UnsafePointer<T>
  let y: UnsafeMutablePointer<T>
  let mask: UnsafeMutablePointer<UInt8>
  let count: Int

  /// y = f(x), and the bits of f, eight to a byte; by way of a byte for each element, so that the loop
  /// over elements becomes vectors.
  @inline(__always)
  func each(_ f: (T) -> (T, Bool)) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: maskTile) { room in
      let flags = room.baseAddress!
      var first = 0
      while first < count {
        let own = min(maskTile, count - first)
        let (from, to) = (x + first, y + first)
        for i in 0..<own { flags[i] = f(from[i]).1 ? 1 : 0 }
        for i in 0..<own { to[i] = f(from[i]).0 }
        for i in own..<(own + 7) / 8 * 8 { flags[i] = 0 }
        for byte in 0..<(own + 7) / 8 { mask[first / 8 + byte] = packed(flags + 8 * byte) }
        first += own
      }
    }
  }
}

/// Eight bytes of 0 or 1 as bits, the first of them the lowest.
@inline(__always)
private func packed(_ flags: UnsafePointer<UInt8>) -> UInt8 {
  let bytes = UInt64(littleEndian: UnsafeRawPointer(flags).loadUnaligned(as: UInt64.self))
  // Byte i goes to bit 56 + i; no two products meet.
  return UInt8(truncatingIfNeeded: (bytes &* 0x0102_0408_1020_4080) &>> 56)
}

/// Eight bits as bytes of 0 or 1.
@inline(__always)
private func unpack(_ bits: UInt8, into flags: UnsafeMutablePointer<UInt8>) {
  // Byte i keeps bit i; adding 127 carries whatever is left of it into the byte's highest bit.
  let spread = UInt64(bits) &* 0x0101_0101_0101_0101 & 0x8040_2010_0804_0201
  let ones = (spread &+ 0x7F7F_7F7F_7F7F_7F7F) &>> 7 & 0x0101_0101_0101_0101
  UnsafeMutableRawPointer(flags).storeBytes(of: ones.littleEndian, as: UInt64.self)
}

extension MaskedActivateGradient: CPULowerable {
  var walk: ImageWalk { .anyOrder }
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
    let isLeaky = forward.function == .leakyReLU
    let slope: T = isLeaky ? T(forward.alpha) : 0
    if isLeaky { return unmasking(type) { $0.each(slope) { (factor, dy: T) in factor * dy } } }
    // Where the derivative is 0 an infinite dy gives 0, not NaN, as without the mask.
    return unmasking(type) { $0.each(0) { (factor, dy: T) in factor == 0 ? 0 : dy } }
  }

  /// A step whose `body` is `{ $0.each(f) }`.
  private func unmasking<T: CPUFloat>(
    _ type: TensorType, _ body: @escaping @Sendable (UnmaskRange<T>) -> Void
  ) -> @Sendable (StepPointers) -> Void {
    let (count, dtype) = (type.shape.elementCount, type.dtype)
    return { p in
      let mask = p(0, as: UInt8.self)
      Parallel.ranges(count) { range in
        if dtype.is16Bits {
          forEachTile(of: range) { part, room, _ in
            dtype.widen(p[1] + 2 * part.lowerBound, part.count, into: room)
            let own = elements(room, T.self)
            body(UnmaskRange(mask: mask + part.lowerBound / 8, dy: own, dx: own, count: part.count))
            dtype.narrow(room, part.count, into: p[2] + 2 * part.lowerBound)
          }
        } else {
          let first = range.lowerBound
          body(
            UnmaskRange(
              mask: mask + first / 8, dy: p(1, as: T.self) + first, dx: p(2, as: T.self) + first,
              count: range.count))
        }
      }
    }
  }
}

/// Neighbouring elements and the bytes that have their bits.
private struct UnmaskRange<T: CPUFloat> {
  let mask: UnsafePointer<UInt8>
  let dy: UnsafePointer<T>
  let dx: UnsafeMutablePointer<T>
  let count: Int

  /// dx = f(1, dy) where the bit is 1, else f(other, dy).
  ///
  /// The factors are an array of their own: a choice beside dx, which may be dy, is a branch that is
  /// wrong half of the time.
  @inline(__always)
  func each(_ other: T, _ f: (T, T) -> T) {
    withUnsafeTemporaryAllocation(of: T.self, capacity: maskTile) { factorRoom in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: maskTile) { room in
        let (factors, flags) = (factorRoom.baseAddress!, room.baseAddress!)
        var first = 0
        while first < count {
          let own = min(maskTile, count - first)
          for byte in 0..<(own + 7) / 8 { unpack(mask[first / 8 + byte], into: flags + 8 * byte) }
          for i in 0..<own { factors[i] = flags[i] != 0 ? 1 : other }
          let (from, to) = (dy + first, dx + first)
          for i in 0..<own { to[i] = f(factors[i], from[i]) }
          first += own
        }
      }
    }
  }
}
