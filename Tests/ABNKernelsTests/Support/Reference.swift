#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Activations of one number in float64.
enum Scalar {
  static func activate(_ activation: ABNActivation, _ y: Double, _ slope: Double) -> Double {
    switch activation {
    case .identity: y
    case .leakyReLU, .prelu: y > 0 ? y : slope * y
    case .elu: y > 0 ? y : slope * expm1(y)
    case .relu: y.isNaN ? y : max(y, 0)
    case .relu6: y.isNaN ? y : min(max(y, 0), 6)
    case .sigmoid: 1 / (1 + exp(-y))
    case .tanh: hyperbolicTangent(y)
    case .swish: y == -.infinity ? -0.0 : y / (1 + exp(-y))
    case .gelu: y == -.infinity ? -0.0 : y * 0.5 * erfc(-y * 0.5.squareRoot())
    case .hardSwish: y <= -3 ? -0.0 : y * min(max(y + 3, 0), 6) / 6
    case .mish: mish(y)
    }
  }

  static func derivative(_ activation: ABNActivation, _ y: Double, _ slope: Double) -> Double {
    switch activation {
    case .identity: return 1
    case .leakyReLU, .prelu: return y > 0 ? 1 : slope
    case .elu: return y > 0 ? 1 : slope * exp(y)
    case .relu: return y.isNaN ? y : (y > 0 ? 1 : 0)
    case .relu6: return y.isNaN ? y : (y > 0 && y < 6 ? 1 : 0)
    case .sigmoid:
      let s = 1 / (1 + exp(-abs(y)))
      return s * (1 / (1 + exp(abs(y))))
    case .tanh:
      let t = hyperbolicTangent(y)
      return (1 - t) * (1 + t)
    case .swish:
      if y.isInfinite { return y > 0 ? 1 : 0 }
      let s = 1 / (1 + exp(-y))
      return s + y * s * (1 / (1 + exp(y)))
    case .gelu:
      if y.isInfinite { return y > 0 ? 1 : 0 }
      return 0.5 * erfc(-y * 0.5.squareRoot()) + y * exp(-0.5 * y * y)
        / (2 * Double.pi).squareRoot()
    case .hardSwish: return y.isNaN ? y : (y <= -3 ? 0 : (y >= 3 ? 1 : (2 * y + 3) / 6))
    case .mish:
      if y > 20 { return 1 }
      if y < -700 { return 0 }
      let e = exp(y)
      let n = e * (e + 2)
      let t = n / (n + 2)
      return t + y * 4 * e * (1 + e) / ((n + 2) * (n + 2))
    }
  }

  /// y from a stored z; a saturated elu gives the y at which rounding to -alpha begins.
  static func inverse(
    _ activation: ABNActivation, _ z: Double, _ slope: Double, _ element: ABNElement
  ) -> Double {
    switch activation {
    case .leakyReLU, .prelu: z > 0 ? z : z / slope
    case .elu:
      z > 0 || z.isNaN ? z : log1p(max(z / slope, -1 + element.unitRoundoff / 2))
    default: z
    }
  }

  private static func mish(_ y: Double) -> Double {
    if y > 20 { return y }
    if y < -745 { return -0.0 }
    let e = exp(y)
    let n = e * (e + 2)
    return y * n / (n + 2)
  }
}

/// The affine map of one channel.
struct ChannelMap {
  let mean: Double
  let inverse: Double
  let scale: Double
  let bias: Double

  init(_ kernel: ABNKernel, _ parameters: ABNParameters, _ saved: ABNSavedStatistics, _ c: Int) {
    mean =
      kernel.statistic(saved.mean, c, default: 0)
      + kernel.statistic(saved.meanRemainder, c, default: 0)
    inverse = kernel.statistic(saved.inverseDeviation, c, default: 1)
    scale = kernel.statistic(parameters.scale, c, default: 1)
    bias = kernel.statistic(parameters.bias, c, default: 0)
  }

  func xhat(_ x: Double) -> Double { (x - mean) * inverse }
  func y(_ x: Double) -> Double { xhat(x) * scale + bias }
  func x(_ y: Double) -> Double { (y - bias) / (scale * inverse) + mean }
}

extension ABNKernel {
  /// Bytes of scratch that any function of this value may use; align it to 64.
  public var scratchBytes: Int { max(64, (geometry.channels * 8 + 63) / 64 * 64) }

  /// Where element `index` (batch-major, then spatial) of a channel stands.
  func offset(_ channel: Int, _ index: Int) -> Int {
    let spatial = geometry.spatial
    switch geometry.layout {
    case .channelSecond:
      return (index / spatial * geometry.channels + channel) * spatial + index % spatial
    case .channelLast:
      return index * geometry.channels + channel
    case .blocked(let size):
      let blocks = (geometry.channels + size - 1) / size
      let run = index / spatial * blocks + channel / size
      return (run * spatial + index % spatial) * size + channel % size
    }
  }

  func load(_ base: UnsafeRawPointer, _ index: Int) -> Double {
    switch element {
    case .float16: Double(base.load(fromByteOffset: index * 2, as: Float16.self))
    case .bfloat16:
      Double(Float(bitPattern: UInt32(base.load(fromByteOffset: index * 2, as: UInt16.self)) << 16))
    case .float32: Double(base.load(fromByteOffset: index * 4, as: Float.self))
    case .float64: base.load(fromByteOffset: index * 8, as: Double.self)
    }
  }

  func store(_ base: UnsafeMutableRawPointer, _ index: Int, _ value: Double) {
    switch element {
    case .float16: base.storeBytes(of: Float16(value), toByteOffset: index * 2, as: Float16.self)
    case .bfloat16:
      base.storeBytes(
        of: UInt16(Scalar.bfloat16Bits(Float(value))), toByteOffset: index * 2, as: UInt16.self)
    case .float32: base.storeBytes(of: Float(value), toByteOffset: index * 4, as: Float.self)
    case .float64: base.storeBytes(of: value, toByteOffset: index * 8, as: Double.self)
    }
  }

  /// The value that the element type keeps.
  func rounded(_ value: Double) -> Double {
    switch element {
    case .float16: Double(Float16(value))
    case .bfloat16: Double(Float(bitPattern: Scalar.bfloat16Bits(Float(value)) << 16))
    case .float32: Double(Float(value))
    case .float64: value
    }
  }

  /// Mean and biased variance around the channel's first value.
  func channelStatistics(_ x: UnsafeRawPointer, _ channel: Int) -> (Double, Double) {
    let count = Double(geometry.countPerChannel)
    let pivot = load(x, offset(channel, 0))
    var sum = 0.0
    for index in 0..<geometry.countPerChannel { sum += load(x, offset(channel, index)) - pivot }
    let mean = pivot + sum / count
    var spread = 0.0
    for index in 0..<geometry.countPerChannel {
      let distance = load(x, offset(channel, index)) - mean
      spread += distance * distance
    }
    return (mean, spread / count)
  }

  /// Writes 0 to the padded lanes of a blocked layout.
  func zeroPadding(_ base: UnsafeMutableRawPointer) {
    guard case .blocked(let size) = geometry.layout, geometry.channels % size != 0 else { return }
    let used = geometry.channels % size
    let blocks = (geometry.channels + size - 1) / size
    for outer in 0..<geometry.outer {
      for position in 0..<geometry.spatial {
        let start = ((outer * blocks + blocks - 1) * geometry.spatial + position) * size
        for lane in used..<size { store(base, start + lane, 0) }
      }
    }
  }
}

extension Scalar {
  /// Round to nearest, ties to even; NaN stays NaN.
  static func bfloat16Bits(_ value: Float) -> UInt32 {
    let bits = value.bitPattern
    if value.isNaN { return (bits >> 16) | 0x40 }
    return (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
  }
}

private func hyperbolicTangent(_ y: Double) -> Double { tanh(y) }
