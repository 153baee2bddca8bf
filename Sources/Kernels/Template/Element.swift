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
    var memory = SIMD16<UInt16>()
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
  _ bits: SIMD16<UInt16>, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
) {
  let old = base.loadUnaligned(fromByteOffset: index &* 2, as: SIMD16<UInt16>.self)
  let lanes = SIMD16<UInt16>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
  let isNew = signs(lanes &- SIMD16(repeating: UInt16(truncatingIfNeeded: count)))
  base.storeBytes(
    of: (bits & isNew) | (old & ~isNew), toByteOffset: index &* 2, as: SIMD16<UInt16>.self)
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
    F32(v: gather(UInt32.self, base, index, count, SIMD16<Float>()))
  }
  @inline(__always) static func storeTail(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt32.self, value.v, base, index, count) }
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
    F64(v: gather(UInt64.self, base, index, count, SIMD16<Double>()))
  }
  @inline(__always) static func storeTail(
    _ value: F64, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt64.self, value.v, base, index, count) }
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
    F32(v: decode(base.loadUnaligned(fromByteOffset: index &* 2, as: SIMD16<UInt16>.self)))
  }
  @inline(__always) static func store(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int
  ) {
    base.storeBytes(of: encode(value.v), toByteOffset: index &* 2, as: SIMD16<UInt16>.self)
  }
  @inline(__always) static func loadTail(
    _ base: UnsafeRawPointer, _ index: Int, _ count: Int
  ) -> F32 {
    F32(v: decode(gather(UInt16.self, base, index, count, SIMD16<UInt16>())))
  }
  @inline(__always) static func storeTail(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt16.self, encode(value.v), base, index, count) }
  @inline(__always) static func storeLeading(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { mixHalves(encode(value.v), base, index, count) }
  static var bytes: Int { @inline(__always) get { 2 } }
  static var roundoff: Double { @inline(__always) get { 0x1p-8 } }
  @inline(__always) static func decode(_ bits: SIMD16<UInt16>) -> SIMD16<Float> {
    unsafeBitCast(widened(bits) &<< 16, to: SIMD16<Float>.self)
  }
  /// Nearest, ties to even. NaN stays NaN, as no NaN that reaches this has a bit set in its lower
  /// half: the processor makes none, elements have no lower half, parameters are made so.
  @inline(__always) static func encode(_ value: SIMD16<Float>) -> SIMD16<UInt16> {
    let bits = unsafeBitCast(value, to: SIMD16<UInt32>.self)
    return narrowed((bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16)
  }

  static var hasTwins: Bool { @inline(__always) get { true } }
  /// Those at even places, and those at odd ones: a step each, where widening takes two.
  @inline(__always) static func loadTwin(_ base: UnsafeRawPointer, _ index: Int) -> (F32, F32) {
    let both = base.loadUnaligned(fromByteOffset: index &* 2, as: SIMD16<UInt32>.self)
    return (
      F32(v: unsafeBitCast(both &<< 16, to: SIMD16<Float>.self)),
      F32(v: unsafeBitCast(both & 0xFFFF_0000, to: SIMD16<Float>.self))
    )
  }
  /// Rounds as `encode` does, with one store, and a permutation for both vectors.
  @inline(__always) static func storeTwin(
    _ values: (F32, F32), _ base: UnsafeMutableRawPointer, _ index: Int
  ) {
    let even = roundedUpper(values.0.v)
    let odd = roundedUpper(values.1.v)
    base.storeBytes(
      of: (odd & 0xFFFF_0000) | (even &>> 16), toByteOffset: index &* 2, as: SIMD16<UInt32>.self)
  }
  /// The upper half rounded; the lower one is no longer wanted. A choice of what to add: as a mask it
  /// is a step less than the last bit as a number.
  @inline(__always) private static func roundedUpper(_ value: SIMD16<Float>) -> SIMD16<UInt32> {
    let bits = unsafeBitCast(value, to: SIMD16<UInt32>.self)
    let isOdd = (bits & 0x1_0000) .!= SIMD16<UInt32>(repeating: 0)
    return (bits &+ 0x7FFF).replacing(with: bits &+ 0x8000, where: isOdd)
  }
}

enum Float16Element: Element {
  typealias V = F32
  static var isExact: Bool { @inline(__always) get { false } }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ index: Int) -> F32 {
    F32(v: decode(base.loadUnaligned(fromByteOffset: index &* 2, as: SIMD16<UInt16>.self)))
  }
  @inline(__always) static func store(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int
  ) {
    base.storeBytes(of: encode(value.v), toByteOffset: index &* 2, as: SIMD16<UInt16>.self)
  }
  @inline(__always) static func loadTail(
    _ base: UnsafeRawPointer, _ index: Int, _ count: Int
  ) -> F32 {
    F32(v: decode(gather(UInt16.self, base, index, count, SIMD16<UInt16>())))
  }
  @inline(__always) static func storeTail(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { scatter(UInt16.self, encode(value.v), base, index, count) }
  @inline(__always) static func storeLeading(
    _ value: F32, _ base: UnsafeMutableRawPointer, _ index: Int, _ count: Int
  ) { mixHalves(encode(value.v), base, index, count) }
  static var bytes: Int { @inline(__always) get { 2 } }
  static var roundoff: Double { @inline(__always) get { 0x1p-11 } }
  #if ABN_F16C || arch(arm64)
  @inline(__always) static func decode(_ bits: SIMD16<UInt16>) -> SIMD16<Float> {
    widened(unsafeBitCast(bits, to: SIMD16<Float16>.self))
  }
  @inline(__always) static func encode(_ value: SIMD16<Float>) -> SIMD16<UInt16> {
    unsafeBitCast(narrowed(value), to: SIMD16<UInt16>.self)
  }
  #else
  /// In integers: the exponent is moved by a multiplication, which normalizes subnormals too.
  @inline(__always) static func decode(_ bits: SIMD16<UInt16>) -> SIMD16<Float> {
    let wide = widened(bits)
    let sign = (wide & 0x8000) &<< 16
    let magnitude = (wide & 0x7FFF) &<< 13
    let scaled = unsafeBitCast(magnitude, to: SIMD16<Float>.self) * 0x1p112
    let plain = unsafeBitCast(scaled, to: SIMD16<UInt32>.self)
    let special = plain | 0x7F80_0000
    let joined = plain.replacing(with: special, where: magnitude .>= 0x7C00 << 13)
    return unsafeBitCast(joined | sign, to: SIMD16<Float>.self)
  }
  /// Normal results round in integers; subnormal ones by adding 1/2, whose last bit is 2^-24.
  @inline(__always) static func encode(_ value: SIMD16<Float>) -> SIMD16<UInt16> {
    let bits = unsafeBitCast(value, to: SIMD16<UInt32>.self)
    let sign = (bits &>> 16) & 0x8000
    let size = bits & 0x7FFF_FFFF
    let normal = (size &- (112 << 23) &+ 0xFFF &+ ((size &>> 13) & 1)) &>> 13
    let moved = unsafeBitCast(size, to: SIMD16<Float>.self) + 0.5
    let small = unsafeBitCast(moved, to: SIMD16<UInt32>.self) &- 0x3F00_0000
    var result = normal.replacing(with: small, where: size .< 113 << 23)
    result.replace(with: 0x7C00, where: size .>= 0x477F_F000)
    result.replace(with: 0x7E00, where: size .> 0x7F80_0000)
    return narrowed(result | sign)
  }
  #endif
}
