import Builtin

/// One type of tensor element: how 16 of them become a vector and back. The base pointer and the
/// index are of elements; nothing outside the 16, or outside the `count` of a tail, is touched.
protocol Element {
  associatedtype V: Vector
  /// Sixteen elements as they are in memory.
  associatedtype Memory: LaneMemory
  static func decode(_ memory: Memory) -> V
  static func encode(_ value: V) -> Memory
  /// Whether a vector keeps an element and an element keeps a lane, bit for bit.
  static var isExact: Bool { get }
  /// Half an ulp of 1.
  static var roundoff: Double { get }
  /// Whether 32 elements in an order of their own cost less than twice 16 in memory's order.
  static var hasPairs: Bool { get }
  /// 32 elements, in any order; `storePair` puts them back in memory's.
  static func loadPair(_ base: UnsafeRawPointer, _ index: Int) -> (V, V)
  static func storePair(_ values: (V, V), _ base: UnsafeMutableRawPointer, _ index: Int)
}

/// Sixteen numbers of one size, bit for bit.
protocol LaneMemory: BitwiseCopyable {
  static var zero: Self { get }
  /// The lanes before lane `count`.
  static func first(_ count: Int) -> LaneMask
  static func choose(_ mask: LaneMask, _ yes: Self, _ no: Self) -> Self
}

extension F32: LaneMemory {
  static var zero: F32 { F32(0) }
}

extension F64: LaneMemory {
  static var zero: F64 { F64(0) }
}

extension U16: LaneMemory {
  static var zero: U16 { U16(0) }
  @inline(__always)
  static func first(_ count: Int) -> LaneMask { lanes < U16(UInt16(truncatingIfNeeded: count)) }
}

extension Element {
  static var bytes: Int { MemoryLayout<Memory>.size / 16 }

  @inline(__always)
  static func load(_ base: UnsafeRawPointer, _ index: Int) -> V { decode(memory(base, index)) }

  @inline(__always)
  static func store(_ value: V, _ base: UnsafeMutableRawPointer, _ index: Int) {
    base.storeBytes(of: encode(value), toByteOffset: index &* bytes, as: Memory.self)
  }

  @inline(__always)
  private static func memory(_ base: UnsafeRawPointer, _ index: Int) -> Memory {
    base.loadUnaligned(fromByteOffset: index &* bytes, as: Memory.self)
  }

  /// The first `count` lanes from memory, the rest 0.
  @inline(__always)
  static func loadTail(_ base: UnsafeRawPointer, _ index: Int, _ count: Int) -> V {
    var memory = Memory.zero
    withUnsafeMutableBytes(of: &memory) {
      copyTail(base + index &* bytes, $0.baseAddress.unsafelyUnwrapped, count &* bytes)
    }
    return decode(memory)
  }

  @inline(__always)
  static func storeTail(_ value: V, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int) {
    withUnsafeBytes(of: encode(value)) {
      copyTail($0.baseAddress.unsafelyUnwrapped, base + index &* bytes, count &* bytes)
    }
  }

  /// The same in one step, where the rest of the 16 may be written back as it is.
  @inline(__always)
  static func storeFirst(_ value: V, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int) {
    let mixed = Memory.choose(Memory.first(count), encode(value), memory(base, index))
    base.storeBytes(of: mixed, toByteOffset: index &* bytes, as: Memory.self)
  }

  /// What a lane is after a trip through memory.
  @inline(__always) static func rounded(_ value: V) -> V { decode(encode(value)) }

  static var hasPairs: Bool { false }

  @inline(__always)
  static func loadPair(_ base: UnsafeRawPointer, _ index: Int) -> (V, V) {
    (load(base, index), load(base, index &+ 16))
  }

  @inline(__always)
  static func storePair(_ values: (V, V), _ base: UnsafeMutableRawPointer, _ index: Int) {
    store(values.0, base, index)
    store(values.1, base, index &+ 16)
  }
}

/// Copies up to 15 elements in at most four pieces of fixed size; a loop, or a copy of variable
/// size, would cost more than the arithmetic.
@inline(__always)
private func copyTail(
  _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ bytes: Int
) {
  var at = 0
  @inline(__always) func copy<Piece: BitwiseCopyable>(_ piece: Piece.Type) {
    let size = MemoryLayout<Piece>.size
    if bytes & size == 0 { return }
    let value = source.loadUnaligned(fromByteOffset: at, as: Piece.self)
    target.storeBytes(of: value, toByteOffset: at, as: Piece.self)
    at = at &+ size
  }
  copy(SIMD8<UInt64>.self)
  copy(SIMD4<UInt64>.self)
  copy(SIMD2<UInt64>.self)
  copy(UInt64.self)
  copy(UInt32.self)
  copy(UInt16.self)
}

enum Float32Element: Element {
  @inline(__always) static func decode(_ memory: F32) -> F32 { memory }
  @inline(__always) static func encode(_ value: F32) -> F32 { value }
  static var isExact: Bool { true }
  static var roundoff: Double { 0x1p-24 }
}

enum Float64Element: Element {
  @inline(__always) static func decode(_ memory: F64) -> F64 { memory }
  @inline(__always) static func encode(_ value: F64) -> F64 { value }
  static var isExact: Bool { true }
  static var roundoff: Double { 0x1p-53 }
}

enum BFloat16Element: Element {
  static var isExact: Bool { false }
  static var roundoff: Double { 0x1p-8 }
  @inline(__always) static func decode(_ bits: U16) -> F32 { (bits.wide &<< 16).number }

  /// Nearest, ties to even. NaN stays NaN, as no NaN that reaches this has a bit set in its lower
  /// half: the processor makes none, elements have no lower half, parameters are made so.
  @inline(__always) static func encode(_ value: F32) -> U16 {
    let bits = U32(bitsOf: value)
    return (bits &+ U32(0x7FFF) &+ ((bits &>> 16) & U32(1))).upperHalf
  }

  static var hasPairs: Bool { true }

  /// Those at even places, and those at odd ones: a step each, where widening takes two.
  @inline(__always)
  static func loadPair(_ base: UnsafeRawPointer, _ index: Int) -> (F32, F32) {
    let both = base.loadUnaligned(fromByteOffset: index &* 2, as: U32.self)
    return ((both &<< 16).number, (both & U32(0xFFFF_0000)).number)
  }

  /// Rounds as `encode` does, with one store, and a permutation for both vectors.
  @inline(__always)
  static func storePair(_ values: (F32, F32), _ base: UnsafeMutableRawPointer, _ index: Int) {
    let even = roundedUpper(values.0) &>> 16
    let odd = roundedUpper(values.1) & U32(0xFFFF_0000)
    base.storeBytes(of: odd | even, toByteOffset: index &* 2, as: U32.self)
  }

  /// The upper half rounded; the lower one is no longer wanted. A choice of what to add: as a mask
  /// it is a step less than the last bit as a number.
  @inline(__always) private static func roundedUpper(_ value: F32) -> U32 {
    let bits = U32(bitsOf: value)
    let isOdd = (bits & U32(0x1_0000)) != U32(0)
    return U32.choose(isOdd, bits &+ U32(0x8000), bits &+ U32(0x7FFF))
  }
}

enum Float16Element: Element {
  static var isExact: Bool { false }
  static var roundoff: Double { 0x1p-11 }
  #if ABN_F16C || arch(arm64)
  @inline(__always) static func decode(_ bits: U16) -> F32 {
    let halves = Builtin.bitcast_Vec16xInt16_Vec16xFPIEEE16(bits.v)
    return F32(v: Builtin.fpext_Vec16xFPIEEE16_Vec16xFPIEEE32(halves))
  }
  @inline(__always) static func encode(_ value: F32) -> U16 {
    let halves = Builtin.fptrunc_Vec16xFPIEEE32_Vec16xFPIEEE16(value.v)
    return U16(v: Builtin.bitcast_Vec16xFPIEEE16_Vec16xInt16(halves))
  }
  #else
  /// In integers: the exponent is moved by a multiplication, which normalizes subnormals too.
  @inline(__always) static func decode(_ bits: U16) -> F32 {
    let wide = bits.wide
    let sign = (wide & U32(0x8000)) &<< 16
    let magnitude = (wide & U32(0x7FFF)) &<< 13
    let plain = U32(bitsOf: magnitude.number * F32(0x1p112))
    let isFinite = magnitude < U32(0x7C00 << 13)
    return (U32.choose(isFinite, plain, plain | U32(0x7F80_0000)) | sign).number
  }
  /// Normal results round in integers; subnormal ones by adding 1/2, whose last bit is 2^-24.
  @inline(__always) static func encode(_ value: F32) -> U16 {
    let bits = U32(bitsOf: value)
    let sign = (bits &>> 16) & U32(0x8000)
    let size = bits & U32(0x7FFF_FFFF)
    let normal =
      (size &- U32(112 << 23) &+ U32(0xFFF) &+ ((size &>> 13) & U32(1))) &>> 13
    let small = U32(bitsOf: size.number + F32(0.5)) &- U32(0x3F00_0000)
    var result = U32.choose(size < U32(113 << 23), small, normal)
    result = U32.choose(size < U32(0x477F_F000), result, U32(0x7C00))
    result = U32.choose(U32(0x7F80_0000) < size, U32(0x7E00), result)
    return (result | sign).lowerHalf
  }
  #endif
}
