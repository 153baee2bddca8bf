// This folder is compiled several times, each with its own instruction set, and so imports nothing that
// is linked: a library function that two of the copies share could carry the wider instructions into the
// narrower set. For the same reason every conversion is written lane by lane; the optimizer makes
// one instruction of it, where the library's generic one is a function of its own.

/// Sixteen numbers that are worked on at once, in the precision of sums and parameters. A wrapper
/// around one concrete SIMD type: code generic over SIMD itself falls back to scalar loops.
protocol Vector {
  associatedtype Mask
  init(_ value: Double)
  /// Lane `lane` and the 15 after it of an array.
  static func load(_ base: UnsafeRawPointer, _ lane: Int) -> Self
  func store(_ base: UnsafeMutableRawPointer, _ lane: Int)
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
  var wide: F64 { get }
  /// Lane 0.
  var first: Double { get }
  /// 0, 1 ... 15.
  static var lanes: Self { get }

  // What elementary functions need of the representation.
  /// 2^n for integral n within the normal exponents, from n + magic.
  static func power(_ shifted: Self) -> Self
  /// scale = 2^(-k / exponentUnit) so that w * scale is in [sqrt(1/2), sqrt(2)), for positive normal w; a w of
  /// less than half a u, 0 included, counts as that.
  static func scaling(_ w: Self) -> (scale: Self, k: Self)
  static var exponentUnit: Double { get }
  /// Adding and subtracting it rounds to an integer; with the bias of exponents, so that the lowest bits of
  /// a sum with it are an exponent.
  static var magic: Double { get }
  static var ln2High: Double { get }
  static var ln2Low: Double { get }
  /// Whether ln(2) as one number is off by next to nothing, and a product with it is not rounded before a
  /// sum: float32's is right to 0.05 u.
  static var hasNearLn2: Bool { get }
  /// Below it exp is 0.
  static var least: Double { get }
  /// (expm1(r) - r) / r^2 for abs(r) <= ln(2) / 2.
  static func expTail(_ r: Self) -> Self
  /// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)).
  static func logOnePlus(_ f: Self) -> Self
  /// (1 + a) exp(a^2 / 2) Phi(-a) at t = (a - 3) / (a + 3), a in 0 ... tailEnd.
  static func normalTail(_ t: Self) -> Self
  static var tailEnd: Double { get }
}

/// Sixteen float32.
struct F32: Vector {
  var v: SIMD16<Float>
  typealias Mask = SIMDMask<SIMD16<Int32>>

  @inline(__always) init(v: SIMD16<Float>) { self.v = v }
  @inline(__always) init(_ value: Double) { v = SIMD16(repeating: Float(value)) }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ lane: Int) -> F32 {
    F32(v: base.loadUnaligned(fromByteOffset: lane &* 4, as: SIMD16<Float>.self))
  }
  @inline(__always) func store(_ base: UnsafeMutableRawPointer, _ lane: Int) {
    base.storeBytes(of: v, toByteOffset: lane &* 4, as: SIMD16<Float>.self)
  }
  @inline(__always) static func broadcast(_ base: UnsafeRawPointer, _ index: Int) -> F32 {
    F32(v: SIMD16(repeating: base.load(fromByteOffset: index &* 4, as: Float.self)))
  }
  @inline(__always) static func + (a: F32, b: F32) -> F32 { F32(v: a.v + b.v) }
  @inline(__always) static func - (a: F32, b: F32) -> F32 { F32(v: a.v - b.v) }
  @inline(__always) static func * (a: F32, b: F32) -> F32 { F32(v: a.v * b.v) }
  @inline(__always) static func / (a: F32, b: F32) -> F32 { F32(v: a.v / b.v) }
  @inline(__always) static prefix func - (a: F32) -> F32 {
    F32(
      v: unsafeBitCast(
        unsafeBitCast(a.v, to: SIMD16<UInt32>.self) ^ 0x8000_0000, to: SIMD16<Float>.self))
  }
  @inline(__always) static func > (a: F32, b: F32) -> Mask { a.v .> b.v }
  @inline(__always) static func == (a: F32, b: F32) -> Mask { a.v .== b.v }
  @inline(__always) static func exceedsNot(_ a: F32, _ b: F32) -> Mask { .!(a.v .> b.v) }
  @inline(__always) static func choose(_ mask: Mask, _ yes: F32, _ no: F32) -> F32 {
    F32(v: no.v.replacing(with: yes.v, where: mask))
  }
  @inline(__always) static func fma(_ c: F32, _ a: F32, _ b: F32) -> F32 {
    #if ABN_FMA || arch(arm64)
    F32(v: c.v.addingProduct(a.v, b.v))
    #else
    F32(v: c.v + a.v * b.v)
    #endif
  }
  @inline(__always) var wide: F64 { F64(v: widened(v)) }
  @inline(__always) var first: Double { Double(v[0]) }
  static var lanes: F32 {
    @inline(__always) get { F32(v: SIMD16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)) }
  }

  @inline(__always) static func power(_ shifted: F32) -> F32 {
    let bits = unsafeBitCast(shifted.v, to: SIMD16<UInt32>.self)
    return F32(v: unsafeBitCast(bits &<< 23, to: SIMD16<Float>.self))
  }
  @inline(__always) static func scaling(_ w: F32) -> (scale: F32, k: F32) {
    let bits = unsafeBitCast(w.v, to: SIMD16<UInt32>.self)
    // k in place of the exponent, below it nothing.
    let exponent = unsafeBitCast((bits &- 0x3F35_04F3) & 0xFF80_0000, to: SIMD16<Int32>.self)
    // Here, of what is used twice: the optimizer carries a choice between numbers that are used once on into
    // the steps that follow, and a mask costs what a product costs.
    let least = SIMD16<Int32>(repeating: -25 << 23)
    let k = exponent.replacing(with: least, where: least .> exponent)
    let scale = unsafeBitCast(0x3F80_0000 &- k, to: SIMD16<Float>.self)
    return (F32(v: scale), F32(v: converted(k)))
  }
  static var exponentUnit: Double { @inline(__always) get { 0x1p23 } }
  static var magic: Double { @inline(__always) get { 0x1.8p23 + 127 } }
  static var ln2High: Double { @inline(__always) get { 0x1.62e4p-1 } }
  static var ln2Low: Double { @inline(__always) get { 1.4286068203094172e-06 } }
  static var hasNearLn2: Bool {
    @inline(__always) get {
      #if ABN_FMA || arch(arm64)
      true
      #else
      false
      #endif
    }
  }
  static var least: Double { @inline(__always) get { -104 } }
  static var tailEnd: Double { @inline(__always) get { 14 } }
}

/// Sixteen float64.
struct F64: Vector {
  var v: SIMD16<Double>
  typealias Mask = SIMDMask<SIMD16<Int64>>

  @inline(__always) init(v: SIMD16<Double>) { self.v = v }
  @inline(__always) init(_ value: Double) { v = SIMD16(repeating: value) }
  @inline(__always) static func load(_ base: UnsafeRawPointer, _ lane: Int) -> F64 {
    F64(v: base.loadUnaligned(fromByteOffset: lane &* 8, as: SIMD16<Double>.self))
  }
  @inline(__always) func store(_ base: UnsafeMutableRawPointer, _ lane: Int) {
    base.storeBytes(of: v, toByteOffset: lane &* 8, as: SIMD16<Double>.self)
  }
  @inline(__always) static func broadcast(_ base: UnsafeRawPointer, _ index: Int) -> F64 {
    F64(v: SIMD16(repeating: base.load(fromByteOffset: index &* 8, as: Double.self)))
  }
  @inline(__always) static func + (a: F64, b: F64) -> F64 { F64(v: a.v + b.v) }
  @inline(__always) static func - (a: F64, b: F64) -> F64 { F64(v: a.v - b.v) }
  @inline(__always) static func * (a: F64, b: F64) -> F64 { F64(v: a.v * b.v) }
  @inline(__always) static func / (a: F64, b: F64) -> F64 { F64(v: a.v / b.v) }
  @inline(__always) static prefix func - (a: F64) -> F64 {
    F64(
      v: unsafeBitCast(
        unsafeBitCast(a.v, to: SIMD16<UInt64>.self) ^ 0x8000_0000_0000_0000,
        to: SIMD16<Double>.self))
  }
  @inline(__always) static func > (a: F64, b: F64) -> Mask { a.v .> b.v }
  @inline(__always) static func == (a: F64, b: F64) -> Mask { a.v .== b.v }
  @inline(__always) static func exceedsNot(_ a: F64, _ b: F64) -> Mask { .!(a.v .> b.v) }
  @inline(__always) static func choose(_ mask: Mask, _ yes: F64, _ no: F64) -> F64 {
    F64(v: no.v.replacing(with: yes.v, where: mask))
  }
  @inline(__always) static func fma(_ c: F64, _ a: F64, _ b: F64) -> F64 {
    #if ABN_FMA || arch(arm64)
    F64(v: c.v.addingProduct(a.v, b.v))
    #else
    F64(v: c.v + a.v * b.v)
    #endif
  }
  @inline(__always) var wide: F64 { self }
  @inline(__always) var first: Double { v[0] }
  static var lanes: F64 {
    @inline(__always) get { F64(v: SIMD16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)) }
  }

  @inline(__always) static func power(_ shifted: F64) -> F64 {
    let bits = unsafeBitCast(shifted.v, to: SIMD16<UInt64>.self)
    return F64(v: unsafeBitCast(bits &<< 52, to: SIMD16<Double>.self))
  }
  @inline(__always) static func scaling(_ w: F64) -> (scale: F64, k: F64) {
    let bits = unsafeBitCast(w.atLeast(F64(0x1p-54)).v, to: SIMD16<UInt64>.self)
    let biased = (bits &+ (0x3FF0_0000_0000_0000 - 0x3FE6_A09E_667F_3BCD)) &>> 52
    let scale = unsafeBitCast((2046 &- biased) &<< 52, to: SIMD16<Double>.self)
    let shifted = unsafeBitCast(biased | 0x4338_0000_0000_0000, to: SIMD16<Double>.self)
    return (F64(v: scale), F64(v: shifted) - F64(magic))
  }
  static var exponentUnit: Double { @inline(__always) get { 1 } }
  static var magic: Double { @inline(__always) get { 0x1.8p52 + 1023 } }
  static var ln2High: Double { @inline(__always) get { 0x1.62e42feep-1 } }
  static var ln2Low: Double { @inline(__always) get { 1.90821492927058770002e-10 } }
  static var hasNearLn2: Bool { @inline(__always) get { false } }
  static var least: Double { @inline(__always) get { -746 } }
  static var tailEnd: Double { @inline(__always) get { 39 } }
}
