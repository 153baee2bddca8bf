#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What is known of a channel before its y is stored. y = scale * xhat + bias, whose xhat has over
/// the channel the mean `mean` and the mean square `square`.
struct ChannelSpread {
  var scale: Double
  var bias: Double
  /// The slope left of zero, or 1.
  var slope: Double
  /// 0 with the statistics of the batch.
  var mean: Double
  /// With the statistics of the batch the deviation's share, squared: variance / (variance +
  /// epsilon).
  var square: Double
  /// What tells the elements of the channel apart in y: abs(scale) times the root mean square of
  /// xhat.
  var size: Double

  @inline(__always)
  init(scale: Double, bias: Double, slope: Double, mean: Double, square: Double) {
    self.scale = scale
    self.bias = bias
    self.slope = slope
    self.mean = mean
    self.square = square
    size = abs(scale) * square.squareRoot()
  }
}

/// Which channels keep their x, as it cannot be computed back from what the forward pass stores.
///
/// Let h be the root mean square of xhat over the channel: with the statistics of the batch the
/// deviation's share, sqrt(variance / (variance + epsilon)), at most 1. What tells the elements of
/// a channel apart in y is scale * xhat, whose size is scale * h. A channel is rescued if one of
/// these holds:
/// * abs(bias) > 8 * abs(scale) * h (2 in channels of fewer than 32 elements), a scale of 0
///   included: y is rounded by u * abs(y), so that xhat is restored with an error of u * (abs(bias
///   / scale) + abs(xhat)), which is to be 8 u of its size;
/// * abs(scale) * h, or slope times that, is so small that z loses digits to underflow;
/// * z may overflow: (abs(bias) + abs(scale) * h * sqrt(m)) * max(1, slope) is more than the
///   largest element, no xhat of m elements being above h * sqrt(m);
/// * a slope of prelu is not positive, or a slope or its inverse has lost digits to underflow;
/// * elu is saturated in the bulk of the channel (`saturation`);
/// * scale, bias or slope is not finite.
///
/// A constant channel (of batch statistics: every x is the mean) needs nothing: its z is what bias
/// is stored as, which stands for xhat = 0. One whose statistics are no numbers is all NaN anyway.
struct RescueRule {
  /// Whether single elements are kept aside: of an activation that saturates, where the way back
  /// may need them. Lists have numbers of 32 bits.
  let keepsAside: Bool
  private let isInvertible: Bool
  /// Few elements: too few roundings to cancel, and a short row.
  private let mostBias: Double
  private let least: Double
  private let greatest: Double
  private let leastSlope: Double
  private let greatestSlope: Double
  private let root: Double
  /// exp(-y) - 1 of elu that is allowed, in units of what it is compared with: y comes back with an
  /// error of u times that, half of it where alpha is 1 as z is between -1 and -1/2, which is to be
  /// 8 u at most.
  private let allowed: Double

  init(_ kernel: ABNKernel) {
    let count = kernel.geometry.countPerChannel
    isInvertible = kernel.activation.isInvertible
    if case .elu = kernel.activation {
      keepsAside = isInvertible && count > 0 && count <= 1 << 32
    } else {
      keepsAside = false
    }
    mostBias = count < 32 ? 2 : 8
    least = 4 * kernel.element.leastNormal
    greatest = kernel.element.greatest
    leastSlope = kernel.element.statistics.leastNormal
    greatestSlope = 1 / leastSlope
    root = Double(count).squareRoot()
    allowed = kernel.activation == .elu(alpha: 1) ? 16 : 8
  }

  /// Whether a channel is rescued; `limit` is what `saturation` gives for it.
  @inline(__always) func isLost(_ channel: ChannelSpread, limit: Double) -> Bool {
    let (offset, size) = (abs(channel.bias), channel.size)
    let scale = abs(channel.scale)
    guard scale > 0, scale.isFinite, offset.isFinite, channel.slope.isFinite else { return true }
    var (least, greatest) = (1.0, 1.0)
    if isInvertible {
      guard channel.slope >= leastSlope, channel.slope <= greatestSlope else { return true }
      least = min(1, channel.slope)
      greatest = max(1, channel.slope)
    }
    if limit != -.infinity && isSaturated(channel, limit) { return true }
    if channel.square == 0 && channel.mean == 0 { return false }
    return offset > mostBias * size || size * least < self.least
      || (offset + size * root) * greatest > self.greatest
  }

  /// Whether so much of a channel lies where elu is saturated that all of it is kept: two
  /// deviations below the mean, or the mean itself.
  ///
  /// By Cantelli's inequality at most a fifth of its elements are more than two deviations below
  /// the mean: those can be kept aside one by one.
  private func isSaturated(_ channel: ChannelSpread, _ limit: Double) -> Bool {
    let deviation = max(0, channel.square - channel.mean * channel.mean).squareRoot()
    let centre = channel.bias + channel.scale * channel.mean
    if centre - 2 * abs(channel.scale) * deviation < limit { return true }
    let most = allowed * channel.size
    // expm1(y) is at most 2 y for a y of 1.25: a function of thousands of small channels would be
    // felt.
    if centre >= -1.25 && -2 * centre <= most { return false }
    return expm1(max(0, -centre)) > most
  }

  /// The y below which elu has lost more digits of it than the bounds allow; -infinity of other
  /// activations.
  ///
  /// z = alpha * (exp(y) - 1) is rounded by u * abs(z), which is an error of u * (exp(-y) - 1) in
  /// the y that comes back. It is to be at most 8 u of abs(scale) * (h + abs(xhat)): of the
  /// channel's size, and of the element's own.
  @inline(__always) func saturation(_ channel: ChannelSpread) -> Double {
    if !keepsAside { return -.infinity }
    let size = channel.size
    // exp(-y) = 1 + allowed * (size + bias - y) has no formula: one step from a first guess of y =
    // -4 on the right leaves a few hundredths.
    let guess = -leastLog(1 + allowed * (size + max(0, channel.bias + 4)))
    return -leastLog(1 + allowed * (size + max(0, channel.bias - guess)))
  }

  /// At most log(value), and more than that less 0.06, for a normal value: the exponent and the
  /// fraction of its bits taken as one number, which is a line between powers of two. A limit that
  /// is a little higher keeps a little more.
  private func leastLog(_ value: Double) -> Double {
    (Double(value.bitPattern) * 0x1p-52 - 1023) * 0.6931471805599453
  }
}
