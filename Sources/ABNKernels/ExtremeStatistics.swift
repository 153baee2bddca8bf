// Channels whose deviation, or whose elements, are at the ends of the range of float32. Everything here leaves usual
// channels as they are, bit for bit.

extension Engine {
  /// `Slot.unit` of a channel: 1, or where 1 / deviation^2 comes near the ends of float32 (a deviation of 1e-20 or
  /// 1e20), the power of two below 1 / deviation. The products of dz and x - mean, and the factor of x - mean in
  /// dx, then stay within the range, as xhat does.
  @inline(__always) func unit(_ inverse: Double, _ mean: Double) -> Double {
    if inverse >= 0x1p-40 && inverse <= 0x1p40 { return 1 }
    return extremeUnit(inverse, mean)
  }

  @inline(never) private func extremeUnit(_ inverse: Double, _ mean: Double) -> Double {
    guard inverse > 0, inverse.isFinite, mean.isFinite else { return 1 }
    let unit = inverse.binade
    // Only of a constant channel is the mean so many deviations large: x * unit must stay a number.
    let limit = isDouble ? 0x1p900 : 0x1p100
    return abs(mean) * unit > limit ? (limit / abs(mean)).binade : unit
  }

  /// 1 / deviation in units.
  @inline(__always) func relative(_ inverse: Double, _ unit: Double) -> Double {
    unit == 1 ? inverse : inverse / unit
  }

  /// What the forward pass needs of a channel. Where x - mean can exceed the largest number, at most
  /// sqrt(m) deviations, y is x * gain + (bias - mean * gain): there the mean is at most 2 sqrt(m) deviations, and
  /// so many u are lost at most. With given statistics no variance is that large.
  @inline(__always) func forwardValues(_ channel: Int) -> ChannelValues {
    var values = values(channel)
    let reach =
      number(saved?.inverseDeviation, channel, default: 1) * (isDouble ? 0x1p1023 : 0x1p127)
    if reach * reach < Double(count) {
      values.shiftedBias = values.bias - (values.mean + values.meanRemainder) * values.gain
      values.mean = 0
    }
    return values
  }
}
