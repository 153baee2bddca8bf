// Activations f and their gradients dy * f'(x), right for every number: exp never gets a positive argument, what
// is multiplied with a vanishing exponential is finite, and a derivative near saturation is a product of what is
// left, never a difference of two numbers near 1. NaN stays NaN.
//
// Each has a short form for vectors whose exponentials are all normal numbers, as nearly all are, and one for the rest, the
// name of which ends in Far: it multiplies a vanishing derivative with dy root by root, so that none is rounded to 0
// before. e is exp(-abs(x)), h its root.

extension Vector {
  /// At most 4000 far from 0, where exp(-abs(x) / 2) has long been 0: what is multiplied with it must not be infinite.
  @inline(__always) private var bounded: Self { atLeast(Self(-4000)).atMost(Self(4000)) }
  /// h, h^2 and whether x is below 0.
  @inline(__always) private static func halves(_ x: Self) -> (h: Self, e: Self, left: Mask) {
    let h = exp(x.magnitude * Self(-0.5))
    return (h, h * h, Self(0) > x)
  }

  @inline(__always) static func relu(_ x: Self) -> Self { x.atLeast(Self(0)) }
  @inline(__always) static func reluGradient(_ x: Self, _ dy: Self) -> Self {
    choose(x > Self(0), dy, Self(0))
  }
  @inline(__always) static func relu6(_ x: Self) -> Self { x.atLeast(Self(0)).atMost(Self(6)) }
  @inline(__always) static func relu6Gradient(_ x: Self, _ dy: Self) -> Self {
    choose(x > Self(0), choose(Self(6) > x, dy, Self(0)), Self(0))
  }

  /// dy where x > 0, else dy * alpha * exp(x).
  @inline(__always) static func eluGradient(_ x: Self, _ dy: Self, _ alpha: Self) -> Self {
    let b = x.atMost(Self(0))
    if isPlain(b) { return choose(x > Self(0), dy, dy * (alpha * plainExp(b))) }
    let h = exp(b * Self(0.5))
    return choose(x > Self(0), dy, dy * h * (alpha * h))
  }

  /// dy * e / (1 + e)^2.
  @inline(__always) static func sigmoidGradient(_ x: Self, _ dy: Self) -> Self {
    let t = -x.magnitude
    if !isPlain(t) { return sigmoidGradientFar(x, dy) }
    let e = plainExp(t)
    let q = Self(1) / (Self(1) + e)
    return dy * (e * q * q)
  }
  @inline(never) private static func sigmoidGradientFar(_ x: Self, _ dy: Self) -> Self {
    let (h, e, _) = halves(x)
    let root = h / (Self(1) + e)
    return dy * root * root
  }

  /// dy * (1 - tanh(x)^2) = dy * 4 e^2 / (1 + e^2)^2: four times the gradient of sigmoid at 2 x.
  @inline(__always) static func tanhGradient(_ x: Self, _ dy: Self) -> Self {
    let t = x.magnitude * Self(-2)
    if !isPlain(t) { return tanhGradientFar(x, dy) }
    let e = plainExp(t)
    let q = Self(2) / (Self(1) + e)
    return dy * (e * q * q)
  }
  @inline(never) private static func tanhGradientFar(_ x: Self, _ dy: Self) -> Self {
    let h = exp(-x.magnitude)
    let root = (h + h) / (Self(1) + h * h)
    return dy * root * root
  }

  /// x / (1 + e), and e times that left of 0.
  @inline(__always) static func swish(_ x: Self) -> Self {
    let t = -x.magnitude
    if !isPlain(t) { return swishFar(x) }
    let e = plainExp(t)
    return choose(Self(0) > x, x * e, x) / (Self(1) + e)
  }
  @inline(never) private static func swishFar(_ x: Self) -> Self {
    let b = x.atLeast(Self(-4000))
    let (h, e, left) = halves(b)
    return choose(left, b * h * h, b) / (Self(1) + e)
  }

  /// dy * (q + x e q^2), q = 1 / (1 + e), right of 0, and dy * e * (q + x q^2) left of it.
  @inline(__always) static func swishGradient(_ x: Self, _ dy: Self) -> Self {
    let t = -x.magnitude
    if !isPlain(t) { return swishGradientFar(x, dy) }
    let e = plainExp(t)
    let q = Self(1) / (Self(1) + e)
    let left = Self(0) > x
    let s = fma(q, choose(left, x, x * e) * q, q)
    return dy * choose(left, s * e, s)
  }
  @inline(never) private static func swishGradientFar(_ x: Self, _ dy: Self) -> Self {
    let b = x.bounded
    let (h, e, left) = halves(b)
    let q = Self(1) / (Self(1) + e)
    let s = fma(q, choose(left, b, b * e) * q, q)
    let root = choose(left, h, Self(1))
    return dy * root * s * root
  }

  /// x * Phi(x).
  @inline(__always) static func gelu(_ x: Self) -> Self {
    x.atLeast(Self(-tailEnd)) * normal(x).below
  }

  /// dy * (Phi(x) + x phi(x)) = dy * s g left of 0, and dy * (1 - s g) right of it, g = exp(-x^2 / 2),
  /// s = Phi(-a) / g - a / sqrt(2 pi), a = abs(x).
  @inline(__always) static func geluGradient(_ x: Self, _ dy: Self) -> Self {
    let a = x.magnitude
    let t = a * a * Self(-0.5)
    if !isPlain(t) { return geluGradientFar(x, dy) }
    let s = fma(upperTail(a), a, Self(-0.3989422804014327)) * plainExp(t)
    return dy * choose(Self(0) > x, s, Self(1) - s)
  }
  @inline(never) private static func geluGradientFar(_ x: Self, _ dy: Self) -> Self {
    let a = x.magnitude.atMost(Self(tailEnd))
    let h = exp(a * a * Self(-0.25))
    let s = fma(upperTail(a), a, Self(-0.3989422804014327))
    return choose(Self(0) > x, dy * h * s * h, dy * fma(Self(1), -h, s * h))
  }

  /// x * min(max(x + 3, 0), 6) / 6.
  @inline(__always) static func hardSwish(_ x: Self) -> Self {
    let inside = x * (x + Self(3)) / Self(6)
    return choose(x > Self(3), x, choose(Self(-3) > x, Self(0), inside))
  }

  /// dy * (2 x + 3) / 6 between -3 and 3, 0 at and left of it, dy at and right of it.
  @inline(__always) static func hardSwishGradient(_ x: Self, _ dy: Self) -> Self {
    let inside = dy * ((x + x + Self(3)) / Self(6))
    let left = choose(Self(-3) > x, Self(0), choose(x == Self(-3), Self(0), inside))
    return choose(x > Self(3), dy, choose(x == Self(3), dy, left))
  }

  /// x * tanh(log(1 + exp(x))) = x (1 + 2 e) / (1 + 2 e + 2 e^2) right of 0, and x e (2 + e) / (2 + 2 e + e^2) left of it.
  @inline(__always) static func mish(_ x: Self) -> Self {
    let t = -x.magnitude
    if !isPlain(t) { return mishFar(x) }
    let e = plainExp(t)
    let left = Self(0) > x
    let (n, d) = mishParts(e, left)
    return choose(left, x * e, x) * n / d
  }
  @inline(never) private static func mishFar(_ x: Self) -> Self {
    let b = x.atLeast(Self(-4000))
    let (h, e, left) = halves(b)
    let (n, d) = mishParts(e, left)
    return choose(left, b * h * h, b) * (n / d)
  }

  /// dy * (t + x (1 - t^2) sigmoid(x)), t = tanh(log(1 + exp(x))), each written in e as in `mish`.
  @inline(__always) static func mishGradient(_ x: Self, _ dy: Self) -> Self {
    let t = -x.magnitude
    if !isPlain(t) { return mishGradientFar(x, dy) }
    let e = plainExp(t)
    let left = Self(0) > x
    let s = mishSlope(x, e, left)
    return dy * choose(left, s * e, s)
  }
  @inline(never) private static func mishGradientFar(_ x: Self, _ dy: Self) -> Self {
    let b = x.bounded
    let (h, e, left) = halves(b)
    let root = choose(left, h, Self(1))
    return dy * root * mishSlope(b, e, left) * root
  }

  /// The derivative; left of 0 without a factor of e.
  @inline(__always) private static func mishSlope(_ x: Self, _ e: Self, _ left: Mask) -> Self {
    let (n, d) = mishParts(e, left)
    let r = Self(1) / d
    let slope = choose(left, x, x * e * e) * (Self(1) + e) * Self(4)
    return r * fma(n, slope, r)
  }

  @inline(__always) private static func mishParts(_ e: Self, _ left: Mask) -> (n: Self, d: Self) {
    let twice = e + e
    let n = choose(left, Self(2) + e, Self(1) + twice)
    return (n, choose(left, fma(Self(2) + twice, e, e), fma(Self(1) + twice, twice, e)))
  }
}
