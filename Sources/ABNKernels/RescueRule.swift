#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What is known of a channel before its y is stored. y = scale * xhat + bias, whose xhat has over the channel the
/// mean `mean` and the mean square `square`.
struct ChannelSpread {
  var scale: Double
  var bias: Double
  /// The slope left of zero, or 1.
  var slope: Double
  /// 0 with the statistics of the batch.
  var mean: Double
  /// With the statistics of the batch the deviation's share, squared: variance / (variance + epsilon).
  var square: Double
  /// What tells the elements of the channel apart in y: abs(scale) times the root mean square of xhat.
  var size: Double

  init(scale: Double, bias: Double, slope: Double, mean: Double, square: Double) {
    self.scale = scale
    self.bias = bias
    self.slope = slope
    self.mean = mean
    self.square = square
    size = abs(scale) * square.squareRoot()
  }
}

extension ABNKernel {
  /// Channels of fewer elements than this are rescued earlier: too few roundings to cancel, and a short row.
  static let leastAveragedCount = 32

  /// Whether a channel keeps its x, as it cannot be computed back from what the forward pass stores.
  ///
  /// Let h be the root mean square of xhat over the channel: with the statistics of the batch the
  /// deviation's share, sqrt(variance / (variance + epsilon)), at most 1. What tells the elements of
  /// a channel apart in y is scale * xhat, whose size is scale * h. A channel is rescued if one of these holds:
  /// * abs(bias) > 8 * abs(scale) * h (2 in channels of fewer than 32 elements), a scale of 0 included: y
  ///   is rounded by u * abs(y), so that xhat is restored with an error of u * (abs(bias / scale) + abs(xhat)),
  ///   which is to be 8 u of its size;
  /// * abs(scale) * h, or slope times that, is so small that z loses digits to underflow;
  /// * z may overflow: (abs(bias) + abs(scale) * h * sqrt(m)) * max(1, slope) is more than the largest
  ///   element, no xhat of m elements being above h * sqrt(m);
  /// * a slope of prelu is not positive, or a slope or its inverse has lost digits to underflow;
  /// * elu is saturated in the bulk of the channel (`saturation`);
  /// * scale, bias or slope is not finite.
  ///
  /// A constant channel (of batch statistics: every x is the mean) needs nothing: its z is what bias is
  /// stored as, which stands for xhat = 0. One whose statistics are no numbers is all NaN anyway.
  /// `limit` is what `saturation` gives for it.
  func mustRescue(_ channel: ChannelSpread, limit: Double) -> Bool {
    let size = abs(channel.scale)
    let offset = abs(channel.bias)
    guard size > 0, size.isFinite, offset.isFinite, channel.slope.isFinite else { return true }
    var least = 1.0
    var greatest = 1.0
    if activation.isInvertible {
      let normal = element.statistics.leastNormal
      guard channel.slope >= normal, 1 / channel.slope >= normal else { return true }
      least = min(1, channel.slope)
      greatest = max(1, channel.slope)
    }
    let effective = channel.size
    if isSaturated(channel, limit) { return true }
    if channel.square == 0 && channel.mean == 0 { return false }
    let count = geometry.countPerChannel
    if offset > (count < Self.leastAveragedCount ? 2 : 8) * effective { return true }
    if effective * least < 4 * element.leastNormal { return true }
    return (offset + effective * Double(count).squareRoot()) * greatest > element.greatest
  }

  /// Whether so much of a channel lies where elu is saturated that all of it is kept: two deviations below the mean,
  /// or the mean itself.
  ///
  /// By Cantelli's inequality at most a fifth of its elements are more than two deviations below the mean: those
  /// can be kept aside one by one.
  private func isSaturated(_ channel: ChannelSpread, _ limit: Double) -> Bool {
    if limit == -.infinity { return false }
    let deviation = max(0, channel.square - channel.mean * channel.mean).squareRoot()
    let centre = channel.bias + channel.scale * channel.mean
    return centre - 2 * abs(channel.scale) * deviation < limit
      || expm1(max(0, -centre)) > allowedSaturation * channel.size
  }

  /// exp(-y) - 1 of elu that is allowed, in units of what it is compared with: y comes back with an error of u
  /// times that, half of it where alpha is 1 as z is between -1 and -1/2, which is to be 8 u at most.
  private var allowedSaturation: Double { activation == .elu(alpha: 1) ? 16 : 8 }

  /// The y below which elu has lost more digits of it than the bounds allow; -infinity of other activations.
  ///
  /// z = alpha * (exp(y) - 1) is rounded by u * abs(z), which is an error of u * (exp(-y) - 1) in the y that
  /// comes back. It is to be at most 8 u of abs(scale) * (h + abs(xhat)): of the channel's size, and of the
  /// element's own.
  func saturation(_ channel: ChannelSpread) -> Double {
    guard case .elu = activation, activation.isInvertible else { return -.infinity }
    let size = channel.size
    let allowed = allowedSaturation
    // exp(-y) = 1 + allowed * (size + bias - y) has no formula: one step from a first guess of y = -4 on the right
    // leaves a few hundredths.
    let guess = -leastLog(1 + allowed * (size + max(0, channel.bias + 4)))
    return -leastLog(1 + allowed * (size + max(0, channel.bias - guess)))
  }

  /// At most log(value), and more than that less 0.06, for a normal value: the exponent and the fraction of its
  /// bits taken as one number, which is a line between powers of two. A logarithm of thousands of small channels
  /// would be felt, and a limit that is a little higher keeps a little more.
  private func leastLog(_ value: Double) -> Double {
    (Double(value.bitPattern) * 0x1p-52 - 1023) * 0.6931471805599453
  }
}

/// What the rule of rescue needs that all channels of a kernel have, and the usual case of it, without a call.
struct UsualChannels {
  private let mostBias: Double
  private let least: Double
  private let greatest: Double
  private let root: Double
  private let isInvertible: Bool

  init(_ kernel: ABNKernel) {
    let count = kernel.geometry.countPerChannel
    mostBias = count < ABNKernel.leastAveragedCount ? 2 : 8
    least = 4 * kernel.element.leastNormal
    greatest = kernel.element.greatest
    root = Double(count).squareRoot()
    isInvertible = kernel.activation.isInvertible
  }

  /// Whether a channel is certainly not rescued: `mustRescue` is false of it. False says nothing.
  ///
  /// `limit` is what `saturation` gives for it. Written so that NaN is false.
  @inline(__always) func contain(_ channel: ChannelSpread, limit: Double) -> Bool {
    let offset = abs(channel.bias)
    let size = channel.size
    guard offset <= mostBias * size else { return false }
    if !isInvertible { return size >= least && offset + size * root <= greatest }
    let slope = channel.slope
    return slope >= 0x1p-100 && slope <= 0x1p100 && size * min(1, slope) >= least
      && (offset + size * root) * max(1, slope) <= greatest
      && (limit == -.infinity || isUnsaturated(channel, limit))
  }

  /// The same of elu's saturation: expm1(-bias) is at most -2 bias for a bias of -1.25 or more.
  @inline(__always) private func isUnsaturated(_ channel: ChannelSpread, _ limit: Double) -> Bool {
    channel.mean == 0 && channel.bias - 2 * channel.size >= limit
      && channel.bias >= -1.25 && -channel.bias <= 4 * channel.size
  }
}
