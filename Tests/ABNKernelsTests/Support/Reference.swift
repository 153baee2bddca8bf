import Foundation

@testable import ABNKernels

/// Activations of one number in float64, and the layer computed from x in float64: nothing here is in
/// place, vectorised or shared with the kernels.
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
    case .hardSigmoid: y.isNaN ? y : min(max(y + 3, 0), 6) / 6
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
    case .hardSigmoid: return y.isNaN ? y : (y > -3 && y < 3 ? 1.0 / 6 : 0)
    case .mish:
      if y > 20 { return 1 }
      if y < -700 { return 0 }
      let e = exp(y)
      let n = e * (e + 2)
      let t = n / (n + 2)
      return t + y * 4 * e * (1 + e) / ((n + 2) * (n + 2))
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

extension Scalar {
  /// Round to nearest, ties to even; NaN stays NaN.
  static func bfloat16Bits(_ value: Float) -> UInt32 {
    let bits = value.bitPattern
    if value.isNaN { return (bits >> 16) | 0x40 }
    return (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
  }
}

private func hyperbolicTangent(_ y: Double) -> Double { tanh(y) }

/// Two numbers whose sum is a number to twice the digits of float64, for long sums.
struct LongSum {
  var high = 0.0
  var low = 0.0
  mutating func add(_ value: Double) {
    let sum = high + value
    let back = sum - high
    low += (high - (sum - back)) + (value - back)
    high = sum
  }
  var value: Double { high + low }
  /// What is left of it beside a product, which is taken in full.
  func minus(_ a: Double, _ b: Double) -> Double { high.addingProduct(-a, b) + low }
}

/// The layer in float64, channel by channel: `x[channel][index]`.
struct ReferenceLayer {
  var mean: [Double] = []
  var variance: [Double] = []
  var y: [[Double]] = []
  var z: [[Double]] = []
  var dx: [[Double]] = []
  var dscale: [Double] = []
  var dbias: [Double] = []
  var dslope: [Double] = []

  init(
    x: [[Double]], dz: [[Double]], scale: [Double], bias: [Double], slopes: [Double],
    activation: ABNActivation, epsilon: Double, given: (mean: [Double], variance: [Double])? = nil
  ) {
    for channel in x.indices {
      let values = x[channel]
      let m = Double(values.count)
      var sum = LongSum()
      for value in values { sum.add(value) }
      var square = LongSum()
      // The mean to twice the digits: high + low.
      let high = sum.value / m
      var rest = LongSum()
      for value in values { rest.add(value - high) }
      let low = rest.value / m
      for value in values {
        let d = (value - high) - low
        square.add(d * d)
      }
      let (mu, lowMu) = given.map { ($0.mean[channel], 0.0) } ?? (high, low)
      let spread = given?.variance[channel] ?? (square.value / m)
      mean.append(mu)
      variance.append(spread)
      let inverse = 1 / (spread + epsilon).squareRoot()
      let slope = slopes.isEmpty ? 0 : slopes[slopes.count == 1 ? 0 : channel]
      let alpha: Double =
        switch activation {
        case .leakyReLU(let alpha), .elu(let alpha): alpha
        default: slope
        }
      let xhat = values.map { (($0 - mu) - lowMu) * inverse }
      let ys = xhat.map { $0 * scale[channel] + bias[channel] }
      y.append(ys)
      z.append(ys.map { Scalar.activate(activation, $0, alpha) })
      var sumDy = LongSum()
      var sumProduct = LongSum()
      var sumSlope = LongSum()
      var dys: [Double] = []
      for index in values.indices {
        let dy = dz[channel][index] * Scalar.derivative(activation, ys[index], alpha)
        dys.append(dy)
        sumDy.add(dy)
        sumProduct.add(dy * xhat[index])
        if ys[index] <= 0 { sumSlope.add(dz[channel][index] * ys[index]) }
      }
      dbias.append(sumDy.value)
      dscale.append(sumProduct.value)
      dslope.append(sumSlope.value)
      let gain = scale[channel] * inverse
      let batch = given == nil ? 1.0 : 0.0
      dx.append(
        values.indices.map { index in
          gain
            * (dys[index] - batch * (sumDy.value / m + xhat[index] * sumProduct.value / m))
        })
    }
    if slopes.count == 1 { dslope = [dslope.reduce(0, +)] }
  }
}
