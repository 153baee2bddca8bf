import Builtin

/// What the elementary functions and the flat loops need of a vector beside its arithmetic.
protocol ElementaryVector: BitwiseCopyable {
  typealias Mask = LaneMask
  /// The nearest numbers.
  init(wide: F64)
  static func squareRoot(_ x: Self) -> Self
  /// The number whose bit n of `bits` is lane n.
  static func choose(bits: UInt16, _ yes: Self, _ no: Self) -> Self
  /// x = m * 2^k with m in [sqrt(1/2), sqrt(2)), for positive normal x.
  static func split(_ x: Self) -> (m: Self, k: Self)
  static var leastNormal: Double { get }
  /// From here on exp is a normal number.
  static var leastPlain: Double { get }
  static var greatest: Double { get }
  /// 2^tinyExponent, which makes a denormal number a normal one.
  static var tinyFactor: Double { get }
  static var tinyExponent: Double { get }
}

extension F32 {
  @inline(__always) init(wide: F64) {
    v = Builtin.fptrunc_Vec16xFPIEEE64_Vec16xFPIEEE32(wide.v)
  }
  @inline(__always) static func squareRoot(_ x: F32) -> F32 {
    F32(v: Builtin.int_sqrt_Vec16xFPIEEE32(x.v))
  }
  @inline(__always) static func choose(bits: UInt16, _ yes: F32, _ no: F32) -> F32 {
    choose(LaneMask(v: Builtin.bitcast_Int16_Vec16xInt1(bits._value)), yes, no)
  }
  @inline(__always) static func split(_ x: F32) -> (m: F32, k: F32) {
    let bits = U32(bitsOf: x)
    let exponent = (bits &+ U32(0x3F80_0000 - 0x3F35_04F3)) &>> 23
    return ((bits &- (exponent &<< 23) &+ U32(0x3F80_0000)).number, exponent.converted - F32(127))
  }
  static var leastNormal: Double { @inline(__always) get { 0x1p-126 } }
  static var leastPlain: Double { @inline(__always) get { -87 } }
  static var greatest: Double { @inline(__always) get { 0x1.fffffep127 } }
  static var tinyFactor: Double { @inline(__always) get { 0x1p24 } }
  static var tinyExponent: Double { @inline(__always) get { 24 } }
}

extension F64 {
  @inline(__always) init(wide: F64) { self = wide }
  @inline(__always) static func squareRoot(_ x: F64) -> F64 {
    F64(v: Builtin.int_sqrt_Vec16xFPIEEE64(x.v))
  }
  @inline(__always) static func choose(bits: UInt16, _ yes: F64, _ no: F64) -> F64 {
    choose(LaneMask(v: Builtin.bitcast_Int16_Vec16xInt1(bits._value)), yes, no)
  }
  @inline(__always) static func split(_ x: F64) -> (m: F64, k: F64) {
    let bits = U64(bitsOf: x)
    let exponent = (bits &+ U64(0x3FF0_0000_0000_0000 - 0x3FE6_A09E_667F_3BCD)) &>> 52
    let shifted = (exponent | U64(0x4338_0000_0000_0000)).number
    return (
      (bits &- (exponent &<< 52) &+ U64(0x3FF0_0000_0000_0000)).number, shifted - F64(magic)
    )
  }
  static var leastNormal: Double { @inline(__always) get { 0x1p-1022 } }
  static var leastPlain: Double { @inline(__always) get { -708 } }
  static var greatest: Double { @inline(__always) get { 0x1.fffffffffffffp1023 } }
  static var tinyFactor: Double { @inline(__always) get { 0x1p54 } }
  static var tinyExponent: Double { @inline(__always) get { 54 } }
}
