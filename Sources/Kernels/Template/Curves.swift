// The activations that are not undone in place, right for every number: exp never gets a positive
// argument, what is multiplied with a vanishing exponential is finite, and a derivative near
// saturation is a product of what is left, never a difference of two numbers near 1. NaN stays NaN.
//
// Each has a short form for vectors whose exponentials are all normal numbers, as nearly all are,
// and one for the rest, the name of which ends in Far: it multiplies a vanishing derivative with dz
// root by root, so that none is rounded to 0 before. e is exp(-abs(y)), h its root.

extension Vector {
  /// At most 4000 far from 0, where exp(-abs(y) / 2) has long been 0: what is multiplied with it
  /// must not be infinite.
  @inline(__always) fileprivate var bounded: Self { atLeast(Self(-4000)).atMost(Self(4000)) }
  /// h, h^2 and whether y is below 0.
  @inline(__always) fileprivate static func halves(_ y: Self) -> (h: Self, e: Self, left: Mask) {
    let h = exp(y.magnitude * Self(-0.5))
    return (h, h * h, Self(0) > y)
  }
}

enum ReLU: ActivationFunction {
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V { y.atLeast(V(0)) }
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    V.choose(y > V(0), dz, V(0))
  }
}

enum ReLU6: ActivationFunction {
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    y.atLeast(V(0)).atMost(V(6))
  }
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    V.choose(y > V(0), V.choose(V(6) > y, dz, V(0)), V(0))
  }
}

enum Sigmoid: ActivationFunction {
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V { V.sigmoid(y) }

  /// dz * e / (1 + e)^2.
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let t = -y.magnitude
    if !V.isPlain(t) { return gradientFar(y, dz) }
    let e = V.plainExp(t)
    let q = V(1) / (V(1) + e)
    return dz * (e * q * q)
  }
  @inline(never) private static func gradientFar<V: Vector>(_ y: V, _ dz: V) -> V {
    let (h, e, _) = V.halves(y)
    let root = h / (V(1) + e)
    return dz * root * root
  }
}

enum Tanh: ActivationFunction {
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V { V.tanh(y) }

  /// dz * (1 - tanh(y)^2) = dz * 4 e^2 / (1 + e^2)^2: four times the gradient of sigmoid at 2 y.
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let t = y.magnitude * V(-2)
    if !V.isPlain(t) { return gradientFar(y, dz) }
    let e = V.plainExp(t)
    let q = V(2) / (V(1) + e)
    return dz * (e * q * q)
  }
  @inline(never) private static func gradientFar<V: Vector>(_ y: V, _ dz: V) -> V {
    let h = V.exp(-y.magnitude)
    let root = (h + h) / (V(1) + h * h)
    return dz * root * root
  }
}

enum Swish: ActivationFunction {
  /// y / (1 + e), and e times that left of 0.
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    let t = -y.magnitude
    if !V.isPlain(t) { return far(y) }
    let e = V.plainExp(t)
    return V.choose(V(0) > y, y * e, y) / (V(1) + e)
  }
  @inline(never) private static func far<V: Vector>(_ y: V) -> V {
    let b = y.atLeast(V(-4000))
    let (h, e, left) = V.halves(b)
    return V.choose(left, b * h * h, b) / (V(1) + e)
  }

  /// dz * q * (1 + y e q), q = 1 / (1 + e), right of 0, and dz * q * (e + y e q) left of it.
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let t = -y.magnitude
    if !V.isPlain(t) { return gradientFar(y, dz) }
    let e = V.plainExp(t)
    let q = V(1) / (V(1) + e)
    return dz * (q * V.fma(V.choose(V(0) > y, e, V(1)), y * e, q))
  }
  @inline(never) private static func gradientFar<V: Vector>(_ y: V, _ dz: V) -> V {
    let b = y.bounded
    let (h, e, left) = V.halves(b)
    let q = V(1) / (V(1) + e)
    let s = V.fma(q, V.choose(left, b, b * e) * q, q)
    let root = V.choose(left, h, V(1))
    return dz * root * s * root
  }
}

enum Gelu: ActivationFunction {
  /// y * Phi(y): with p = y * Phi(-a), a = abs(y), that is p left of 0 and y - p right of it.
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    let t = y * y * V(-0.5)
    if !V.isPlain(t) { return far(y) }
    let p = y * (V.plainExp(t) * V.upperTail(y.magnitude))
    return V.choose(y > V(0), y - p, p)
  }
  @inline(never) private static func far<V: Vector>(_ y: V) -> V {
    y.atLeast(V(-V.tailEnd)) * V.normal(y).below
  }

  /// dz * (Phi(y) + y phi(y)) = dz * s g left of 0, and dz * (1 - s g) right of it, g = exp(-y^2 /
  /// 2), s = Phi(-a) / g - a / sqrt(2 pi).
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let t = y * y * V(-0.5)
    if !V.isPlain(t) { return gradientFar(y, dz) }
    let a = y.magnitude
    let s = V.fma(V.upperTail(a), a, V(-0.3989422804014327)) * V.plainExp(t)
    return dz * V.choose(V(0) > y, s, V(1) - s)
  }
  @inline(never) private static func gradientFar<V: Vector>(_ y: V, _ dz: V) -> V {
    let a = y.magnitude.atMost(V(V.tailEnd))
    let h = V.exp(a * a * V(-0.25))
    let s = V.fma(V.upperTail(a), a, V(-0.3989422804014327))
    return V.choose(V(0) > y, dz * h * s * h, dz * V.fma(V(1), -h, s * h))
  }
}

enum HardSigmoid: ActivationFunction {
  /// min(max(y + 3, 0), 6) / 6.
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    (y + V(3)).atLeast(V(0)).atMost(V(6)) / V(6)
  }

  /// dz / 6 between -3 and 3, else 0.
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    V.choose(y > V(-3), V.choose(V(3) > y, dz / V(6), V(0)), V(0))
  }
}

enum HardSwish: ActivationFunction {
  /// y * min(max(y + 3, 0), 6) / 6.
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    let inside = y * (y + V(3)) / V(6)
    return V.choose(y > V(3), y, V.choose(V(-3) > y, V(0), inside))
  }

  /// dz * (2 y + 3) / 6 between -3 and 3, 0 at and left of it, dz at and right of it.
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let inside = dz * ((y + y + V(3)) / V(6))
    let left = V.choose(V(-3) > y, V(0), V.choose(y == V(-3), V(0), inside))
    return V.choose(y > V(3), dz, V.choose(y == V(3), dz, left))
  }
}

enum Mish: ActivationFunction {
  /// y * tanh(log(1 + exp(y))) = y n / d: with e^2 = q, n = 1 + 2 e and d = n + 2 q right of 0, n =
  /// q + 2 e and d = n + 2 left of it.
  @inline(__always) static func activate<V: Vector>(_ y: V, _ slope: V) -> V {
    let t = -y.magnitude
    if !V.isPlain(t) { return far(y) }
    let (n, d) = parts(V.plainExp(t), V(0) > y)
    return y * n / d
  }
  @inline(never) private static func far<V: Vector>(_ y: V) -> V {
    let b = y.atLeast(V(-4000))
    let (h, e, left) = V.halves(b)
    let (n, d) = parts(e, left)
    return V.choose(left, b * h * h * ((V(2) + e) / d), b * (n / d))
  }

  /// dz * (t + y (1 - t^2) sigmoid(y)) with t = n / d, which is dz * (n + 4 y (1 + e) w / d) / d, w
  /// = e left of 0 and e^2 right of it.
  @inline(__always) static func gradient<V: Vector>(_ y: V, _ dz: V, _ slope: V) -> V {
    let t = -y.magnitude
    if !V.isPlain(t) { return gradientFar(y, dz) }
    let e = V.plainExp(t)
    let left = V(0) > y
    let (n, d) = parts(e, left)
    let r = V(1) / d
    let bend = V.fma(V(4), V(4), e) * (y * V.choose(left, e, e * e))
    return dz * (r * V.fma(n, r, bend))
  }
  @inline(never) private static func gradientFar<V: Vector>(_ y: V, _ dz: V) -> V {
    let b = y.bounded
    let (h, e, left) = V.halves(b)
    let (n, d) = parts(e, left)
    let r = V(1) / d
    // Left of 0 without a factor of e.
    let bend = V.fma(V(4), V(4), e) * (b * V.choose(left, V(1), e * e))
    let s = r * V.fma(V.choose(left, V(2) + e, n), r, bend)
    let root = V.choose(left, h, V(1))
    return dz * root * s * root
  }

  @inline(__always) private static func parts<V: Vector>(
    _ e: V, _ left: V.Mask
  ) -> (n: V, d: V) {
    let q = e * e
    let n = V.fma(V.choose(left, q, V(1)), V(2), e)
    return (n, V.fma(n, V(2), V.choose(left, V(1), q)))
  }
}
