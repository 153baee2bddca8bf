import Builtin

// Vectors of integers and lane masks: what the conversions and the elementary functions need beside
// arithmetic on numbers. As in `Vector`, each step is one instruction of the compiler's own
// (`Builtin`), which the README explains.

/// Which of 16 lanes are meant.
struct LaneMask: BitwiseCopyable {
  var v: Builtin.Vec16xInt1

  init(v: Builtin.Vec16xInt1) { self.v = v }
  static var none: LaneMask { LaneMask(v: Builtin.zeroInitializer()) }
  /// Lane n as bit n.
  var bits: Int { Int(UInt16(Builtin.bitcast_Vec16xInt1_Int16(v))) }
}

/// Sixteen integers of 16 bits: elements of that size, bit for bit.
struct U16: BitwiseCopyable {
  var v: Builtin.Vec16xInt16

  init(v: Builtin.Vec16xInt16) { self.v = v }
  init(_ value: UInt16) {
    let zero: Builtin.Vec16xInt16 = Builtin.zeroInitializer()
    let one = Builtin.insertelement_Vec16xInt16_Int16_Int32(
      zero, value._value, Builtin.zeroInitializer())
    v = Builtin.shufflevector_Vec16xInt16_Vec16xInt32(one, zero, Builtin.zeroInitializer())
  }
  static func < (a: U16, b: U16) -> LaneMask { LaneMask(v: Builtin.cmp_ult_Vec16xInt16(a.v, b.v)) }
  static func choose(_ mask: LaneMask, _ yes: U16, _ no: U16) -> U16 {
    U16(v: Builtin.select_Vec16xInt1_Vec16xInt16(mask.v, yes.v, no.v))
  }
  var wide: U32 { U32(v: Builtin.zext_Vec16xInt16_Vec16xInt32(v)) }
  /// 0, 1 ... 15.
  static var lanes: U16 {
    U16(v: SIMD16<UInt16>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)._storage._value)
  }
}

/// Sixteen integers of 32 bits: the bits of float32.
struct U32: BitwiseCopyable {
  var v: Builtin.Vec16xInt32

  init(v: Builtin.Vec16xInt32) { self.v = v }
  init(_ value: UInt32) {
    let zero: Builtin.Vec16xInt32 = Builtin.zeroInitializer()
    let one = Builtin.insertelement_Vec16xInt32_Int32_Int32(
      zero, value._value, Builtin.zeroInitializer())
    v = Builtin.shufflevector_Vec16xInt32_Vec16xInt32(one, zero, Builtin.zeroInitializer())
  }
  init(bitsOf number: F32) { v = Builtin.bitcast_Vec16xFPIEEE32_Vec16xInt32(number.v) }
  var number: F32 { F32(v: Builtin.bitcast_Vec16xInt32_Vec16xFPIEEE32(v)) }
  static func &+ (a: U32, b: U32) -> U32 { U32(v: Builtin.add_Vec16xInt32(a.v, b.v)) }
  static func &- (a: U32, b: U32) -> U32 { U32(v: Builtin.sub_Vec16xInt32(a.v, b.v)) }
  static func & (a: U32, b: U32) -> U32 { U32(v: Builtin.and_Vec16xInt32(a.v, b.v)) }
  static func | (a: U32, b: U32) -> U32 { U32(v: Builtin.or_Vec16xInt32(a.v, b.v)) }
  /// `count` is less than 32; so below.
  static func &<< (a: U32, count: UInt32) -> U32 {
    U32(v: Builtin.shl_Vec16xInt32(a.v, U32(count).v))
  }
  static func &>> (a: U32, count: UInt32) -> U32 {
    U32(v: Builtin.lshr_Vec16xInt32(a.v, U32(count).v))
  }
  static func < (a: U32, b: U32) -> LaneMask { LaneMask(v: Builtin.cmp_ult_Vec16xInt32(a.v, b.v)) }
  static func != (a: U32, b: U32) -> LaneMask { LaneMask(v: Builtin.cmp_ne_Vec16xInt32(a.v, b.v)) }
  /// Where a is less than b, both with a sign.
  static func isSignedLess(_ a: U32, _ b: U32) -> LaneMask {
    LaneMask(v: Builtin.cmp_slt_Vec16xInt32(a.v, b.v))
  }
  static func choose(_ mask: LaneMask, _ yes: U32, _ no: U32) -> U32 {
    U32(v: Builtin.select_Vec16xInt1_Vec16xInt32(mask.v, yes.v, no.v))
  }
  /// The integers, with a sign, as numbers.
  var converted: F32 { F32(v: Builtin.sitofp_Vec16xInt32_Vec16xFPIEEE32(v)) }
  var lowerHalf: U16 { U16(v: Builtin.trunc_Vec16xInt32_Vec16xInt16(v)) }
  /// On AVX-512 as a choice of every other half: one permutation, of which LLVM makes a shift and a
  /// `lowerHalf`, which takes two, unless it is written lane by lane.
  var upperHalf: U16 {
    #if ABN_AVX512
    let h = unsafeBitCast(self, to: SIMD32<UInt16>.self)
    let odd = SIMD16<UInt16>(
      h[1], h[3], h[5], h[7], h[9], h[11], h[13], h[15], h[17], h[19], h[21], h[23], h[25], h[27],
      h[29], h[31])
    return U16(v: odd._storage._value)
    #else
    return (self &>> 16).lowerHalf
    #endif
  }
}

/// Sixteen integers of 64 bits: the bits of float64.
struct U64: BitwiseCopyable {
  var v: Builtin.Vec16xInt64

  init(v: Builtin.Vec16xInt64) { self.v = v }
  init(_ value: UInt64) {
    let zero: Builtin.Vec16xInt64 = Builtin.zeroInitializer()
    let one = Builtin.insertelement_Vec16xInt64_Int64_Int32(
      zero, value._value, Builtin.zeroInitializer())
    v = Builtin.shufflevector_Vec16xInt64_Vec16xInt32(one, zero, Builtin.zeroInitializer())
  }
  init(bitsOf number: F64) { v = Builtin.bitcast_Vec16xFPIEEE64_Vec16xInt64(number.v) }
  var number: F64 { F64(v: Builtin.bitcast_Vec16xInt64_Vec16xFPIEEE64(v)) }
  static func &+ (a: U64, b: U64) -> U64 { U64(v: Builtin.add_Vec16xInt64(a.v, b.v)) }
  static func &- (a: U64, b: U64) -> U64 { U64(v: Builtin.sub_Vec16xInt64(a.v, b.v)) }
  static func | (a: U64, b: U64) -> U64 { U64(v: Builtin.or_Vec16xInt64(a.v, b.v)) }
  /// `count` is less than 64; so below.
  static func &<< (a: U64, count: UInt64) -> U64 {
    U64(v: Builtin.shl_Vec16xInt64(a.v, U64(count).v))
  }
  static func &>> (a: U64, count: UInt64) -> U64 {
    U64(v: Builtin.lshr_Vec16xInt64(a.v, U64(count).v))
  }
}
