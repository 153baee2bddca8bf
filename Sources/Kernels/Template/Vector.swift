import Builtin

// This folder is compiled several times, each with its own instruction set, and so imports nothing
// that is linked: a library function that two of the copies share could carry the wider
// instructions into the narrower set. `Builtin` is the compiler itself: each of its functions is
// one instruction of LLVM on 16 lanes.

/// Sixteen numbers that are worked on at once, in the precision of sums and parameters.
protocol Vector: ElementaryVector {
  init(_ value: Double)
  /// Number `index` of an array, in all lanes.
  static func broadcast(_ base: UnsafeRawPointer, _ index: Int) -> Self
  static func + (a: Self, b: Self) -> Self
  static func - (a: Self, b: Self) -> Self
  static func * (a: Self, b: Self) -> Self
  static func / (a: Self, b: Self) -> Self
  static prefix func - (a: Self) -> Self
  static func > (a: Self, b: Self) -> Mask
  static func == (a: Self, b: Self) -> Mask
  /// Where a is not greater than b: a is below, equal or not a number.
  static func exceedsNot(_ a: Self, _ b: Self) -> Mask
  /// `yes` where the mask is set, else `no`.
  static func choose(_ mask: Mask, _ yes: Self, _ no: Self) -> Self
  /// c + a * b, in one rounding where the instruction set has it.
  static func fma(_ c: Self, _ a: Self, _ b: Self) -> Self
  var magnitude: Self { get }
  var wide: F64 { get }
  /// Lane 0.
  var first: Double { get }
  /// 0, 1 ... 15.
  static var lanes: Self { get }

  // What elementary functions need of the representation.
  /// 2^n for integral n within the normal exponents, from n + magic.
  static func power(_ shifted: Self) -> Self
  /// scale = 2^(-k / exponentUnit) so that w * scale is in [sqrt(1/2), sqrt(2)), for positive
  /// normal w; a w of less than half a u, 0 included, counts as that.
  static func scaling(_ w: Self) -> (scale: Self, k: Self)
  static var exponentUnit: Double { get }
  /// Adding and subtracting it rounds to an integer; with the bias of exponents, so that the lowest
  /// bits of a sum with it are an exponent.
  static var magic: Double { get }
  static var ln2High: Double { get }
  static var ln2Low: Double { get }
  /// Whether ln(2) as one number is off by next to nothing, and a product with it is not rounded
  /// before a sum: float32's is right to 0.05 u.
  static var hasNearLn2: Bool { get }
  /// Below it exp is 0.
  static var least: Double { get }
  /// (expm1(r) - r) / r^2 for abs(r) <= ln(2) / 2.
  static func expTail(_ r: Self) -> Self
  /// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)).
  static func logOnePlus(_ f: Self) -> Self
  /// Phi(-a) / exp(-a^2 / 2) for a in 0 ... tailEnd, from where on exp(-a^2 / 2) only counts times
  /// a huge number.
  static func upperTail(_ a: Self) -> Self
  static var tailEnd: Double { get }
}

extension Vector {
  /// Lane `lane` and the 15 after it of an array.
  static func load(_ base: UnsafeRawPointer, _ lane: Int) -> Self {
    base.loadUnaligned(fromByteOffset: lane &* (MemoryLayout<Self>.size / 16), as: Self.self)
  }
  func store(_ base: UnsafeMutableRawPointer, _ lane: Int) {
    base.storeBytes(of: self, toByteOffset: lane &* (MemoryLayout<Self>.size / 16), as: Self.self)
  }
  /// Whether any lane is set: one test of the whole mask.
  static func any(_ mask: Mask) -> Bool { mask.bits != 0 }
  /// The lanes before lane `count`, and the last `count` of the 16.
  static func first(_ count: Int) -> Mask { Self(Double(count)) > lanes }
  static func last(_ count: Int) -> Mask { lanes > Self(Double(15 &- count)) }
}

/// Sixteen float32.
struct F32: Vector {
  var v: Builtin.Vec16xFPIEEE32

  init(v: Builtin.Vec16xFPIEEE32) { self.v = v }
  init(_ value: Double) { self.init(all: Float(value)) }
  init(all value: Float) { self = U32(value.bitPattern).number }
  static func broadcast(_ base: UnsafeRawPointer, _ index: Int) -> F32 {
    F32(all: base.load(fromByteOffset: index &* 4, as: Float.self))
  }
  static func + (a: F32, b: F32) -> F32 { F32(v: Builtin.fadd_Vec16xFPIEEE32(a.v, b.v)) }
  static func - (a: F32, b: F32) -> F32 { F32(v: Builtin.fsub_Vec16xFPIEEE32(a.v, b.v)) }
  static func * (a: F32, b: F32) -> F32 { F32(v: Builtin.fmul_Vec16xFPIEEE32(a.v, b.v)) }
  static func / (a: F32, b: F32) -> F32 { F32(v: Builtin.fdiv_Vec16xFPIEEE32(a.v, b.v)) }
  static prefix func - (a: F32) -> F32 { F32(v: Builtin.fneg_Vec16xFPIEEE32(a.v)) }
  static func > (a: F32, b: F32) -> Mask { Mask(v: Builtin.fcmp_ogt_Vec16xFPIEEE32(a.v, b.v)) }
  static func == (a: F32, b: F32) -> Mask { Mask(v: Builtin.fcmp_oeq_Vec16xFPIEEE32(a.v, b.v)) }
  static func exceedsNot(_ a: F32, _ b: F32) -> Mask {
    Mask(v: Builtin.fcmp_ule_Vec16xFPIEEE32(a.v, b.v))
  }
  static func choose(_ mask: Mask, _ yes: F32, _ no: F32) -> F32 {
    F32(v: Builtin.select_Vec16xInt1_Vec16xFPIEEE32(mask.v, yes.v, no.v))
  }
  static func fma(_ c: F32, _ a: F32, _ b: F32) -> F32 {
    isTuned ? F32(v: Builtin.int_fma_Vec16xFPIEEE32(a.v, b.v, c.v)) : c + a * b
  }
  var magnitude: F32 { F32(v: Builtin.int_fabs_Vec16xFPIEEE32(v)) }
  var wide: F64 { F64(v: Builtin.fpext_Vec16xFPIEEE32_Vec16xFPIEEE64(v)) }
  var first: Double {
    Double(Float(Builtin.extractelement_Vec16xFPIEEE32_Int32(v, Builtin.zeroInitializer())))
  }
  static var lanes: F32 {
    F32(v: SIMD16<Float>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)._storage._value)
  }

  static func power(_ shifted: F32) -> F32 { (U32(bitsOf: shifted) &<< 23).number }
  static func scaling(_ w: F32) -> (scale: F32, k: F32) {
    // k in place of the exponent, below it nothing.
    let exponent = (U32(bitsOf: w) &- U32(0x3F35_04F3)) & U32(0xFF80_0000)
    // Here, of what is used twice: the optimizer carries a choice between numbers that are used
    // once on into the steps that follow, and a mask costs what a product costs.
    let least = U32(UInt32(bitPattern: -25 << 23))
    let k = U32.choose(U32.isSignedLess(exponent, least), least, exponent)
    return ((U32(0x3F80_0000) &- k).number, k.converted)
  }
  static var exponentUnit: Double { 0x1p23 }
  static var magic: Double { 0x1.8p23 + 127 }
  static var ln2High: Double { 0x1.62e4p-1 }
  static var ln2Low: Double { 1.4286068203094172e-06 }
  static var hasNearLn2: Bool { isTuned }
  static var least: Double { -104 }
  static var tailEnd: Double { 21 }
}

/// Sixteen float64.
struct F64: Vector {
  var v: Builtin.Vec16xFPIEEE64

  init(v: Builtin.Vec16xFPIEEE64) { self.v = v }
  init(_ value: Double) { self.init(all: value) }
  init(all value: Double) { self = U64(value.bitPattern).number }
  static func broadcast(_ base: UnsafeRawPointer, _ index: Int) -> F64 {
    F64(all: base.load(fromByteOffset: index &* 8, as: Double.self))
  }
  static func + (a: F64, b: F64) -> F64 { F64(v: Builtin.fadd_Vec16xFPIEEE64(a.v, b.v)) }
  static func - (a: F64, b: F64) -> F64 { F64(v: Builtin.fsub_Vec16xFPIEEE64(a.v, b.v)) }
  static func * (a: F64, b: F64) -> F64 { F64(v: Builtin.fmul_Vec16xFPIEEE64(a.v, b.v)) }
  static func / (a: F64, b: F64) -> F64 { F64(v: Builtin.fdiv_Vec16xFPIEEE64(a.v, b.v)) }
  static prefix func - (a: F64) -> F64 { F64(v: Builtin.fneg_Vec16xFPIEEE64(a.v)) }
  static func > (a: F64, b: F64) -> Mask { Mask(v: Builtin.fcmp_ogt_Vec16xFPIEEE64(a.v, b.v)) }
  static func == (a: F64, b: F64) -> Mask { Mask(v: Builtin.fcmp_oeq_Vec16xFPIEEE64(a.v, b.v)) }
  static func exceedsNot(_ a: F64, _ b: F64) -> Mask {
    Mask(v: Builtin.fcmp_ule_Vec16xFPIEEE64(a.v, b.v))
  }
  static func choose(_ mask: Mask, _ yes: F64, _ no: F64) -> F64 {
    F64(v: Builtin.select_Vec16xInt1_Vec16xFPIEEE64(mask.v, yes.v, no.v))
  }
  static func fma(_ c: F64, _ a: F64, _ b: F64) -> F64 {
    isTuned ? F64(v: Builtin.int_fma_Vec16xFPIEEE64(a.v, b.v, c.v)) : c + a * b
  }
  var magnitude: F64 { F64(v: Builtin.int_fabs_Vec16xFPIEEE64(v)) }
  var wide: F64 { self }
  var first: Double {
    Double(Builtin.extractelement_Vec16xFPIEEE64_Int32(v, Builtin.zeroInitializer()))
  }
  static var lanes: F64 {
    F64(v: SIMD16<Double>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)._storage._value)
  }

  static func power(_ shifted: F64) -> F64 { (U64(bitsOf: shifted) &<< 52).number }
  static func scaling(_ w: F64) -> (scale: F64, k: F64) {
    let bits = U64(bitsOf: w.atLeast(F64(0x1p-54)))
    let biased = (bits &+ U64(0x3FF0_0000_0000_0000 - 0x3FE6_A09E_667F_3BCD)) &>> 52
    let shifted = (biased | U64(0x4338_0000_0000_0000)).number
    return (((U64(2046) &- biased) &<< 52).number, shifted - F64(magic))
  }
  static var exponentUnit: Double { 1 }
  static var magic: Double { 0x1.8p52 + 1023 }
  static var ln2High: Double { 0x1.62e42feep-1 }
  static var ln2Low: Double { 1.90821492927058770002e-10 }
  static var hasNearLn2: Bool { false }
  static var least: Double { -746 }
  static var tailEnd: Double { 55 }
}

/// Whether the processors of this set have a fused multiply-add: all but those of x86-64's
/// baseline, from before 2013, which does without the code that only speed asks for.
var isTuned: Bool {
  #if ABN_FMA || arch(arm64)
  true
  #else
  false
  #endif
}
