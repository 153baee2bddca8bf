import Builtin

/// One type of tensor element: how 16 of them become a vector and back. The base pointer and the
/// index are of elements; nothing outside the 16, or outside the `count` of a tail, is touched.
protocol Element {
  associatedtype V: Vector
  /// Whether a vector keeps an element and an element keeps a lane, bit for bit.
  static var isExact: Bool { get }
  /// Half an ulp of 1.
  static var roundoff: Double { get }
  static var bytes: Int { get }
  static func load(_ base: UnsafeRawPointer, _ index: Int) -> V
  static func store(_ value: V, _ base: UnsafeMutableRawPointer, _ index: Int)
  /// The first `count` lanes from memory, the rest 0.
  static func loadTail(_ base: UnsafeRawPointer, _ index: Int, _ count: Int) -> V
  static func storeTail(_ value: V, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int)
  /// The same in one step, where the rest of the 16 may be written back as it is.
  static func storeLeading(
    _ value: V, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int)
  /// Whether 32 elements in an order of their own cost less than twice 16 in memory's order.
  static var hasTwins: Bool { get }
  /// 32 elements, in any order; `storeTwin` puts them back in memory's.
  static func loadTwin(_ base: UnsafeRawPointer, _ index: Int) -> (V, V)
  static func storeTwin(_ values: (V, V), _ base: UnsafeMutableRawPointer, _ index: Int)
}

extension Element {
  static var hasTwins: Bool { @inline(__always) get { false } }
  @inline(__always) static func loadTwin(_ base: UnsafeRawPointer, _ index: Int) -> (V, V) {
    (load(base, index), load(base, index &+ 16))
  }
  @inline(__always) static func storeTwin(
    _ values: (V, V), _ base: UnsafeMutableRawPointer, _ index: Int
  ) {
    store(values.0, base, index)
    store(values.1, base, index &+ 16)
  }
  /// What a lane is after a trip through memory.
  @inline(__always) static func rounded(_ value: V) -> V {
    if isExact { return value }
    var memory = U16(0)
    return withUnsafeMutableBytes(of: &memory) { buffer in
      let base = buffer.baseAddress.unsafelyUnwrapped
      store(value, base, 0)
      return load(base, 0)
    }
  }
}

/// Copies up to 15 elements in at most four pieces of fixed size; a loop, or a copy of variable size,
/// would cost more than the arithmetic. `T` is an unsigned integer of the element's size.
@inline(__always) private func copyTail<T: SIMDScalar & BitwiseCopyable>(
  _ type: T.Type, _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int
) {
  let stride = MemoryLayout<T>.stride
  var at = 0
  if count & 8 != 0 {
    target.storeBytes(of: source.loadUnaligned(as: SIMD8<T>.self), as: SIMD8<T>.self)
    at = 8 &* stride
  }
  if count & 4 != 0 {
    let piece = source.loadUnaligned(fromByteOffset: at, as: SIMD4<T>.self)
    target.storeBytes(of: piece, toByteOffset: at, as: SIMD4<T>.self)
    at = at &+ 4 &* stride
  }
  if count & 2 != 0 {
    let piece = source.loadUnaligned(fromByteOffset: at, as: SIMD2<T>.self)
    target.storeBytes(of: piece, toByteOffset: at, as: SIMD2<T>.self)
    at = at &+ 2 &* stride
  }
  if count & 1 != 0 {
    let piece = source.loadUnaligned(fromByteOffset: at, as: T.self)
    target.storeBytes(of: piece, toByteOffset: at, as: T.self)
  }
}

/// The first `count` elements, the rest 0, as one vector of bits.
@inline(__always) private func gather<T: SIMDScalar & BitwiseCopyable, B: BitwiseCopyable>(
  _ type: T.Type, _ base: UnsafeRawPointer, _ index: Int, _ count: Int, _ zero: B
) -> B {
  var block = zero
  withUnsafeMutableBytes(of: &block) { buffer in
    copyTail(
      type, base + index &* MemoryLayout<T>.stride, buffer.baseAddress.unsafelyUnwrapped, count)
  }
  return block
}

@inline(__always) private func scatter<T: SIMDScalar & BitwiseCopyable, B: BitwiseCopyable>(
  _ type: T.Type, _ block: B, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
) {
  withUnsafeBytes(of: block) { buffer in
    copyTail(
      type, buffer.baseAddress.unsafelyUnwrapped, base + index &* MemoryLayout<T>.stride, count)
  }
}

/// Writes the first `count` of 16 elements of 16 bits, bit for bit, and the rest as it is.
@inline(__always) private func mixHalves(
  _ bits: U16, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
) {
  let isNew = U16.lanes < U16(UInt16(truncatingIfNeeded: count))
  U16.choose(isNew, bits, U16.load(base, index)).store(base, index)
}

enum Float32Element: Element {
  typealias V = F32
  static var isExact: Bool { @inline(__always) get { true } }
  static var bytes: Int { @inline(__always) get { 4 } }
  static var roundoff: Double { @inline(__always) get { 0x1p-24 } }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ index: Int) -> F32 {
    F32.load(base, index)
  }
  @inline(__always) static func store(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int
  ) { value.store(base, index) }
  @inline(__always) static func loadTail(
    _ base: UnsafeRawPointer, _ index: Int, _ count: Int
  ) -> F32 {
    gather(UInt32.self, base, index, count, F32(0))
  }
  @inline(__always) static func storeTail(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt32.self, value, base, index, count) }
  @inline(__always) static func storeLeading(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) {
    F32.choose(F32(Double(count)) > F32.lanes, value, F32.load(base, index)).store(base, index)
  }
}

enum Float64Element: Element {
  typealias V = F64
  static var isExact: Bool { @inline(__always) get { true } }
  static var bytes: Int { @inline(__always) get { 8 } }
  static var roundoff: Double { @inline(__always) get { 0x1p-53 } }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ index: Int) -> F64 {
    F64.load(base, index)
  }
  @inline(__always) static func store(
    _ value: F64, _ base: UnsafeMutableRawPointer, _ index: Int
  ) { value.store(base, index) }
  @inline(__always) static func loadTail(
    _ base: UnsafeRawPointer, _ index: Int, _ count: Int
  ) -> F64 {
    gather(UInt64.self, base, index, count, F64(0))
  }
  @inline(__always) static func storeTail(
    _ value: F64, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt64.self, value, base, index, count) }
  @inline(__always) static func storeLeading(
    _ value: F64, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) {
    F64.choose(F64(Double(count)) > F64.lanes, value, F64.load(base, index)).store(base, index)
  }
}

enum BFloat16Element: Element {
  typealias V = F32
  static var isExact: Bool { @inline(__always) get { false } }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ index: Int) -> F32 {
    decode(U16.load(base, index))
  }
  @inline(__always) static func store(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int
  ) { encode(value).store(base, index) }
  @inline(__always) static func loadTail(
    _ base: UnsafeRawPointer, _ index: Int, _ count: Int
  ) -> F32 {
    decode(gather(UInt16.self, base, index, count, U16(0)))
  }
  @inline(__always) static func storeTail(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt16.self, encode(value), base, index, count) }
  @inline(__always) static func storeLeading(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { mixHalves(encode(value), base, index, count) }
  static var bytes: Int { @inline(__always) get { 2 } }
  static var roundoff: Double { @inline(__always) get { 0x1p-8 } }
  @inline(__always) static func decode(_ bits: U16) -> F32 {
    (bits.wide &<< 16).number
  }
  /// Nearest, ties to even. NaN stays NaN, as no NaN that reaches this has a bit set in its lower
  /// half: the processor makes none, elements have no lower half, parameters are made so.
  @inline(__always) static func encode(_ value: F32) -> U16 {
    let bits = U32(bitsOf: value)
    return (bits &+ U32(0x7FFF) &+ ((bits &>> 16) & U32(1))).upperHalf
  }

  static var hasTwins: Bool { @inline(__always) get { true } }
  /// Those at even places, and those at odd ones: a step each, where widening takes two.
  @inline(__always) static func loadTwin(_ base: UnsafeRawPointer, _ index: Int) -> (F32, F32) {
    let both = base.loadUnaligned(fromByteOffset: index &* 2, as: U32.self)
    return ((both &<< 16).number, (both & U32(0xFFFF_0000)).number)
  }
  /// Rounds as `encode` does, with one store, and a permutation for both vectors.
  @inline(__always) static func storeTwin(
    _ values: (F32, F32), _ base: UnsafeMutableRawPointer, _ index: Int
  ) {
    let even = roundedUpper(values.0) &>> 16
    let odd = roundedUpper(values.1) & U32(0xFFFF_0000)
    base.storeBytes(of: odd | even, toByteOffset: index &* 2, as: U32.self)
  }
  /// The upper half rounded; the lower one is no longer wanted. A choice of what to add: as a mask it
  /// is a step less than the last bit as a number.
  @inline(__always) private static func roundedUpper(_ value: F32) -> U32 {
    let bits = U32(bitsOf: value)
    let isOdd = (bits & U32(0x1_0000)) != U32(0)
    return U32.choose(isOdd, bits &+ U32(0x8000), bits &+ U32(0x7FFF))
  }
}

enum Float16Element: Element {
  typealias V = F32
  static var isExact: Bool { @inline(__always) get { false } }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ index: Int) -> F32 {
    decode(U16.load(base, index))
  }
  @inline(__always) static func store(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int
  ) { encode(value).store(base, index) }
  @inline(__always) static func loadTail(
    _ base: UnsafeRawPointer, _ index: Int, _ count: Int
  ) -> F32 {
    decode(gather(UInt16.self, base, index, count, U16(0)))
  }
  @inline(__always) static func storeTail(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt16.self, encode(value), base, index, count) }
  @inline(__always) static func storeLeading(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { mixHalves(encode(value), base, index, count) }
  static var bytes: Int { @inline(__always) get { 2 } }
  static var roundoff: Double { @inline(__always) get { 0x1p-11 } }
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
