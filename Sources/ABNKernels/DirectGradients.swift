import ABNKernelsBaseline

extension Engine {
  /// Whether the backward pass may leave out y - bias, as far as the whole layer decides: from z, in channels
  /// that are large enough.
  static func canBeDirect(_ kernel: ABNKernel) -> Bool {
    kernel.activation.isInvertible
      && kernel.geometry.countPerChannel >= kernel.leastDirectCount
  }

  /// The same of a call: with given statistics there is no part of xhat in dx, and a channel that is constant
  /// cannot be told.
  @inline(__always) func mayBeDirect(_ call: BackwardCall) -> Bool {
    canBeDirect && call.mode == .batch && !call.keptIsInput
  }

  /// Whether the gradients of a channel are sums of multiples, of dz and z or for elu of dy and y, and a constant.
  ///
  /// The other road takes y - bias for every element, with 0 where z is what bias is stored as: dscale of a constant
  /// channel is then exactly 0, and a small variance keeps its digits. This one takes z (y) as it is, and bias from the
  /// sums: a step rounds by u * abs(z) where the other road rounds by u * abs(y - bias), u being half an ulp of 1
  /// in the type of parameters. So it is for channels where
  /// * abs(bias) is at most 0.75 abs(scale), as with dz of one sign dscale would be off by more than its bound;
  ///   or 8, the rule of rescue, for elements of 16 bits, as what z
  ///   has lost by being stored is far more than u;
  /// * variance is at least epsilon, so that xhat has a deviation of 0.7 or more, and z is not all bias;
  /// * no factor comes near underflow or overflow.
  ///
  /// A channel whose statistics are NaN is NaN on both roads, and must not change that of its neighbours.
  @inline(__always) func isDirect(_ channel: Int) -> Bool {
    let inverse = number(saved?.inverseDeviation, channel, default: 0)
    let scale = abs(number(parameters.scale, channel, default: 1))
    let bias = number(parameters.bias, channel, default: 0)
    let slope = hasSlopes ? kernel.slope(parameters, channel) : alpha
    return rescueRow(channel) == nil && abs(bias) <= directBias * scale
      && !(kernel.epsilon * inverse * inverse > 0.5) && slope >= 0x1p-20 && slope <= 0x1p20
      && Self.isDirect(factor: scale * inverse)
  }

  /// The same for all channels of a group.
  @inline(__always) func isDirect(_ group: LaneGroup) -> Bool {
    for channel in group.first..<group.first + group.channels where !isDirect(channel) {
      return false
    }
    return true
  }

  /// How large bias may be beside scale.
  var directBias: Double { bytes == 2 ? 8 : 0.75 }

  /// Whether a factor of dz or z, times a slope or its inverse, keeps its digits in float32. Without a part of
  /// the distance dx is the other way's: 0 times an infinite z is NaN.
  @inline(__always) static func isDirect(factor: Double) -> Bool {
    !(abs(factor) < 0x1p-60 || abs(factor) > 0x1p60)
  }

  /// Whether the distance factors in rows of one channel in each lane all let dx be direct.
  func areDirect(_ rows: ParameterRows) -> Bool {
    (0..<channels).allSatisfy { channel in
      let at = Slot.distanceFactor &* rows.stride &+ channel
      return Self.isDirect(factor: number(rows.base, at, default: 0))
    }
  }
}
