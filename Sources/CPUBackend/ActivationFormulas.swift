import Numerics

// Activations f and their gradients dy * f'(x) in one element type, right for every number: exp never gets
// a positive argument, what is multiplied with a vanishing exponential is finite, and a derivative near
// saturation is a product of what is left, never a difference of two numbers near 1. Vanishing derivatives
// are multiplied with dy root by root, so that none is rounded to 0 before. NaN stays NaN.

/// `x`, at most `bound` far from 0, beyond which exp(-|x| / 2) is 0 or its square is: what is multiplied
/// with it must not be infinite.
@inline(__always)
private func bounded<T: CPUFloat>(_ x: T, _ bound: T = 4000) -> T {
  x < -bound ? -bound : x > bound ? bound : x
}

/// 1 / (1 + exp(-x)).
@inline(__always)
func sigmoid<T: CPUFloat>(_ x: T) -> T {
  if x >= 0 { return 1 / (1 + T.exp(-x)) }
  let e = T.exp(x)
  return e / (1 + e)
}

/// dy * (h / (1 + h^2))^2, h = exp(-|x| / 2).
@inline(__always)
func sigmoidGradient<T: CPUFloat>(_ x: T, _ dy: T) -> T {
  let h = T.exp(-x.magnitude / 2)
  let root = h / (1 + h * h)
  return dy * root * root
}

/// dy * (1 - tanh(x)^2) = dy * (2 h / (1 + h^2))^2, h = exp(-|x|).
@inline(__always)
func tanhGradient<T: CPUFloat>(_ x: T, _ dy: T) -> T {
  let h = T.exp(-x.magnitude)
  let root = 2 * h / (1 + h * h)
  return dy * root * root
}

/// dy where x > 0, else dy * alpha * exp(x).
@inline(__always)
func eluGradient<T: CPUFloat>(_ x: T, _ dy: T, _ alpha: T) -> T {
  if x > 0 { return dy }
  let h = T.exp(x / 2)
  return dy * h * (alpha * h)
}

/// x * sigmoid(x). Left of 0 exp(x) is taken in two halves, so that no digits are lost before the product.
@inline(__always)
func swish<T: CPUFloat>(_ x: T) -> T {
  if x >= 0 { return x / (1 + T.exp(-x)) }
  let b = bounded(x)
  let h = T.exp(b / 2)
  return b * h * h / (1 + h * h)
}

/// dy * (q + b h^2 q^2), q = 1 / (1 + h^2) right of 0, and dy * h^2 (q + b q^2) left of it.
@inline(__always)
func swishGradient<T: CPUFloat>(_ x: T, _ dy: T) -> T {
  let b = bounded(x)
  let h = T.exp(-b.magnitude / 2)
  let q = 1 / (1 + h * h)
  if x >= 0 { return dy * (q + b * h * h * q * q) }
  return dy * h * (q + b * q * q) * h
}

/// x * Phi(x).
@inline(__always)
func gelu<T: CPUFloat>(_ x: T) -> T {
  let b = x < -100 ? -100 : x
  return b * T(0.5) * T.erfc(-b * T(0.5).squareRoot())
}

/// dy * (Phi(x) + x * phi(x)); far left, where both vanish, in float64.
@inline(__always)
func geluGradient<T: CPUFloat>(_ x: T, _ dy: T) -> T {
  if x < -8 && T.self != Double.self { return T(geluGradient(Double(x), Double(dy))) }
  let b = bounded(x, 100)
  let density = 1 / (2 * T.pi).squareRoot()
  return dy * (T(0.5) * T.erfc(-b * T(0.5).squareRoot()) + b * density * T.exp(-b * b / 2))
}

/// x * min(max(x + 3, 0), 6) / 6.
@inline(__always)
func hardSwish<T: CPUFloat>(_ x: T) -> T {
  x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6
}

/// dy * (2 x + 3) / 6 between -3 and 3, 0 left of it and dy right of it.
@inline(__always)
func hardSwishGradient<T: CPUFloat>(_ x: T, _ dy: T) -> T {
  x <= -3 ? 0 : x >= 3 ? dy : dy * ((2 * x + 3) / 6)
}

/// x * tanh(log(1 + exp(x))) = x n / (n + 2), n = e (e + 2), e = exp(x); with f = exp(-x) the quotient is
/// (1 + 2 f) / (1 + 2 f + 2 f^2).
@inline(__always)
func mish<T: CPUFloat>(_ x: T) -> T {
  if x >= 0 {
    let f = T.exp(-x)
    return x * ((1 + 2 * f) / (1 + 2 * f + 2 * f * f))
  }
  let b = bounded(x)
  let h = T.exp(b / 2)
  let e = h * h
  return b * h * h * (e + 2) / (e * (e + 2) + 2)
}

/// dy * (t + x (1 - t^2) sigmoid(x)), t = tanh(log(1 + exp(x))), each written in exp(-|x|) as in `mish`.
@inline(__always)
func mishGradient<T: CPUFloat>(_ x: T, _ dy: T) -> T {
  let b = bounded(x)
  let h = T.exp(-b.magnitude / 2)
  let e = h * h
  if x >= 0 {
    let d = 1 + 2 * e + 2 * e * e
    return dy * ((1 + 2 * e) / d + b * 4 * e * e * (1 + e) / (d * d))
  }
  let d = e * (e + 2) + 2
  return dy * h * ((e + 2) / d + b * 4 * (1 + e) / (d * d)) * h
}
