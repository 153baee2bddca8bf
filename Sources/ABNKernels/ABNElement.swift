/// The type of the elements of a tensor. Parameters, statistics and sums are float32, or float64
/// for float64 elements (`statistics`).
public enum ABNElement: Int, Hashable, Sendable, CaseIterable {
  /// IEEE 754 binary16.
  case float16
  /// The upper half of a binary32.
  case bfloat16
  /// IEEE 754 binary32.
  case float32
  /// IEEE 754 binary64.
  case float64

  /// Bytes of one element.
  public var bytes: Int {
    switch self {
    case .float16, .bfloat16: 2
    case .float32: 4
    case .float64: 8
    }
  }

  /// The type of scale, bias, slopes, statistics and their gradients.
  public var statistics: ABNElement { self == .float64 ? .float64 : .float32 }

  /// Bytes of one parameter or statistic.
  public var statisticsBytes: Int { statistics.bytes }

  /// Half the distance from 1 to the next value: the largest relative error of one rounding.
  var unitRoundoff: Double {
    switch self {
    case .float16: 0x1p-11
    case .bfloat16: 0x1p-8
    case .float32: 0x1p-24
    case .float64: 0x1p-53
    }
  }

  /// The smallest positive number that keeps all its digits.
  var leastNormal: Double {
    switch self {
    case .float16: 0x1p-14
    case .bfloat16, .float32: 0x1p-126
    case .float64: 0x1p-1022
    }
  }

  /// The largest finite number.
  var greatest: Double {
    switch self {
    case .float16: 65504
    case .bfloat16: 0x1.FEp127
    case .float32: Double(Float.greatestFiniteMagnitude)
    case .float64: Double.greatestFiniteMagnitude
    }
  }
}
