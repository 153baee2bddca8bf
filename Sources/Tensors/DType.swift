/// The element type of a tensor.
public enum DType: String, Sendable, CaseIterable, Hashable, Codable {
  /// IEEE 754 binary16.
  case float16
  /// The upper half of a binary32.
  case bfloat16
  /// IEEE 754 binary32.
  case float32
  /// IEEE 754 binary64.
  case float64
  /// Signed 8-bit integer.
  case int8
  /// Unsigned 8-bit integer.
  case uint8
  /// Signed 32-bit integer.
  case int32
  /// Signed 64-bit integer.
  case int64
  /// One byte, 0 or 1.
  case bool

  /// Bytes of one element.
  public var bytes: Int {
    switch self {
    case .int8, .uint8, .bool: 1
    case .float16, .bfloat16: 2
    case .float32, .int32: 4
    case .float64, .int64: 8
    }
  }

  /// Whether the type is one of the four floating-point types.
  public var isFloatingPoint: Bool {
    switch self {
    case .float16, .bfloat16, .float32, .float64: true
    default: false
    }
  }

  /// The type in which parameters, statistics and sums of a tensor of this type are kept:
  /// float32 for the 16-bit types, else the type itself.
  package var accumulation: DType { self == .float16 || self == .bfloat16 ? .float32 : self }
}

/// A Swift type that is the element of a tensor.
public protocol TensorScalar: Sendable {
  /// The element type that this Swift type stands for.
  static var dtype: DType { get }
  /// The value nearest to `value`; integers round toward zero and clamp to their range.
  init(tensorValue value: Double)
  /// The value as a float64.
  var tensorValue: Double { get }
}

extension Float: TensorScalar {
  public static var dtype: DType { .float32 }
  public init(tensorValue value: Double) { self = Float(value) }
  public var tensorValue: Double { Double(self) }
}
extension Double: TensorScalar {
  public static var dtype: DType { .float64 }
  public init(tensorValue value: Double) { self = value }
  public var tensorValue: Double { self }
}
extension Float16: TensorScalar {
  public static var dtype: DType { .float16 }
  public init(tensorValue value: Double) { self = Float16(value) }
  public var tensorValue: Double { Double(self) }
}
extension Bool: TensorScalar {
  public static var dtype: DType { .bool }
  public init(tensorValue value: Double) { self = value != 0 }
  public var tensorValue: Double { self ? 1 : 0 }
}

extension TensorScalar where Self: FixedWidthInteger {
  /// The value nearest to `value`, rounded toward zero and clamped; NaN gives 0.
  public init(tensorValue value: Double) {
    let rounded = value.rounded(.towardZero)
    self =
      Self(exactly: rounded) ?? (value.isNaN ? 0 : value < 0 ? Self.min : Self.max)
  }
  /// The value as a float64, rounded where it has more than 53 bits.
  public var tensorValue: Double { Double(self) }
}

extension Int8: TensorScalar { public static var dtype: DType { .int8 } }
extension UInt8: TensorScalar { public static var dtype: DType { .uint8 } }
extension Int32: TensorScalar { public static var dtype: DType { .int32 } }
extension Int64: TensorScalar { public static var dtype: DType { .int64 } }

/// The upper 16 bits of a binary32: 8 bits of exponent, 7 of fraction.
public struct BFloat16: TensorScalar, Hashable {
  /// The stored bits.
  public var bitPattern: UInt16

  /// The number with these bits.
  public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// The nearest bfloat16, ties to even; NaN stays NaN.
  public init(_ value: Float) {
    let bits = value.bitPattern
    if value.isNaN {
      bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x40
    } else {
      bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ ((bits >> 16) & 1)) >> 16)
    }
  }

  public static var dtype: DType { .bfloat16 }
  /// The nearest bfloat16, ties to even: rounded once. The float32 on the way is rounded to odd
  /// (towards zero, its last bit set where digits were lost), so that it is never a tie that the
  /// value is not.
  public init(tensorValue value: Double) {
    var near = Float(value)
    if near.isFinite, Double(near) != value {
      let towardsZero = near.magnitude > Float(0) && Double(near.magnitude) > value.magnitude
      near = Float(bitPattern: (towardsZero ? near.bitPattern - 1 : near.bitPattern) | 1)
    }
    self.init(near)
  }
  public var tensorValue: Double { Double(float) }

  /// The value as binary32, exactly.
  public var float: Float { Float(bitPattern: UInt32(bitPattern) << 16) }
}
