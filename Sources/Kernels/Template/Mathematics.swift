// Elementary functions. Error bounds are the largest seen over the whole range against a reference
// of more digits, as the tests measure them, rounded up; u is half an ulp of 1 in the type.
// The polynomials were fitted for this package with the Remez exchange, to relative error.

private let ln2 = 0.6931471805599453

extension Vector {
  /// The larger of the two; NaN in `self` stays.
  @inline(__always) func atLeast(_ bound: Self) -> Self { Self.choose(bound > self, bound, self) }
  /// The smaller of the two; NaN in `self` stays.
  @inline(__always) func atMost(_ bound: Self) -> Self { Self.choose(self > bound, bound, self) }

  /// x = n ln(2) + r; `shifted` is n + magic, which holds n in its lowest bits. `isNear`: with
  /// ln(2) as one number where that is near enough.
  @inline(__always) static func reduce(
    _ x: Self, isNear: Bool = false
  ) -> (n: Self, shifted: Self, r: Self) {
    let shifted = fma(Self(magic), x, Self(1.4426950408889634))
    let n = shifted - Self(magic)
    let r =
      isNear && hasNearLn2
      ? fma(x, n, Self(-ln2)) : fma(fma(x, n, Self(-ln2High)), n, Self(-ln2Low))
    return (n, shifted, r)
  }

  /// exp(x), within 1.25 ulps; subnormal results within one rounding of that; 0 below `least`,
  /// infinity above `-least`.
  @inline(__always) static func exp(_ value: Self) -> Self {
    let x = value.atLeast(Self(least)).atMost(Self(-least))
    let (n, _, r) = reduce(x)
    let p = Self(1) + fma(r, r * r, expTail(r))
    // Two steps, as 2^n alone is not a normal number at the ends.
    let half = fma(Self(magic), n, Self(0.5))
    return p * power(half) * power((n - (half - Self(magic))) + Self(magic))
  }

  /// exp(x) where the result is a normal number, the same number in half of the steps.
  @inline(__always) static func plainExp(_ x: Self) -> Self {
    let (_, shifted, r) = reduce(x)
    return (Self(1) + fma(r, r * r, expTail(r))) * power(shifted)
  }

  /// Whether exp is a normal number of every x, none of which is positive; NaN counts as that.
  @inline(__always) static func isPlain(_ x: Self) -> Bool { !any(Self(leastPlain) > x) }

  /// exp(x) for x <= 0.
  @inline(__always) static func decay(_ x: Self) -> Self {
    isPlain(x) ? plainExp(x) : anyExp(x)
  }
  @inline(never) private static func anyExp(_ x: Self) -> Self { exp(x) }

  /// The natural logarithm, within 1.5 ulps: minus infinity of 0, NaN below it.
  @inline(__always) static func log(_ x: Self) -> Self {
    let isTiny = Self(leastNormal) > x
    let (m, exponent) = split(choose(isTiny, x * Self(tinyFactor), x))
    let k = choose(isTiny, exponent - Self(tinyExponent), exponent)
    let y = fma(fma(logOnePlus(m - Self(1)), k, Self(ln2Low)), k, Self(ln2High))
    // Infinity stays.
    let upper = choose(x > Self(greatest), x, y)
    return choose(
      x > Self(0), upper, choose(x == Self(0), Self(-Double.infinity), x - x + Self(Double.nan)))
  }

  /// exp(x) - 1 for x <= 0, within 1.25 ulps; -1 far below.
  @inline(__always) static func expMinusOneOfNegative(_ value: Self) -> Self {
    // -1 to the last bit from here on down, and 2^n stays a normal number.
    let x = value.atLeast(Self(-64))
    // What a near ln(2) takes from r is n * 2e-9, and 2^n of that is in a result above 1/4.
    let (_, shifted, r) = reduce(x, isNear: true)
    let q = fma(r, r * r, expTail(r))
    let s = power(shifted)
    return fma(s - Self(1), s, q)
  }

  /// log(1 + t) for t in (-1, 0], within 1.5 ulps; log(u / 2) for t = -1.
  @inline(__always) static func logOfOnePlusNegative(_ t: Self) -> Self {
    let w = Self(1) + t
    let (scale, k) = scaling(w)
    // w * scale - 1, but from t and in one rounding, as w has been rounded: t itself where scale is
    // 1. For w = 0, which counts as u / 2, scale - 1 is rounded to scale, and f is 0.
    let f = fma(scale - Self(1), t, scale)
    let part = logOnePlus(f)
    if hasNearLn2 { return fma(part, k, Self(ln2 / exponentUnit)) }
    return fma(
      fma(part, k, Self(ln2Low / exponentUnit)), k, Self(ln2High / exponentUnit))
  }

  /// 1 / (1 + exp(-y)), within 4 ulps.
  @inline(__always) static func sigmoid(_ y: Self) -> Self {
    let e = decay(-y.magnitude)
    return choose(Self(0) > y, e, Self(1)) / (Self(1) + e)
  }

  /// Hyperbolic tangent, within 4 ulps.
  @inline(__always) static func tanh(_ y: Self) -> Self {
    let a = y.magnitude
    // tanh(a) = -m / (2 + m) with m = expm1(-2 a): no cancellation anywhere.
    let m = expMinusOneOfNegative(a * Self(-2))
    let t = -m / (Self(2) + m)
    return choose(Self(0) > y, -t, t)
  }

  /// Phi(y) and the density exp(-y^2 / 2) / sqrt(2 pi) of the normal distribution. Phi is within
  /// 4 u for y >= 0; below, the relative error grows as u * y^2 with that of the exponential.
  @inline(__always) static func normal(_ y: Self) -> (below: Self, density: Self) {
    let a = y.magnitude.atMost(Self(tailEnd))
    let e = decay(a * a * Self(-0.5))
    let tail = e * upperTail(a)
    return (choose(Self(0) > y, tail, Self(1) - tail), e * Self(0.3989422804014327))
  }
}

extension F32 {
  @inline(__always) static func expTail(_ r: F32) -> F32 {
    // In pairs, so that fewer steps wait for one another.
    let square = r * r
    let high = fma(F32(0.04166628047823906), F32(0.008366631343960762), r)
    let low = fma(F32(0.5), F32(0.16666541993618011), r)
    return fma(low, fma(high, F32(0.0013946545077487826), square), square)
  }

  @inline(__always) static func logOnePlus(_ f: F32) -> F32 {
    let square = f * f
    let p0 = fma(F32(-0.49999991059303284), F32(0.33333951234817505), f)
    let p2 = fma(F32(-0.25001755356788635), F32(0.19962072372436523), f)
    let p4 = fma(F32(-0.16570508480072021), F32(0.14917974174022675), f)
    let p6 = fma(F32(-0.14307521283626556), F32(0.08734843134880066), f)
    return fma(f, square, fma(p0, square, fma(p2, square, fma(p4, square, p6))))
  }

  /// Within 6e-9 to 14, and 4e-7 to 21: without a subtraction.
  @inline(__always) static func upperTail(_ a: F32) -> F32 {
    var p = F32(0.00407755337168)
    p = fma(F32(0.0403722048159), p, a)
    p = fma(F32(0.182460840564), p, a)
    p = fma(F32(0.437249644356), p, a)
    p = fma(F32(0.5), p, a)
    var q = F32(0.0102207818157)
    q = fma(F32(0.101204920267), q, a)
    q = fma(F32(0.467426472751), q, a)
    q = fma(F32(1.1992867319), q, a)
    q = fma(F32(1.67238424373), q, a)
    q = fma(F32(1), q, a)
    return p / q
  }
}

extension F64 {
  @inline(__always) static func expTail(_ r: F64) -> F64 {
    var p = F64(0x1.1f95aa4b9d3edp-29)
    p = fma(F64(0x1.af5f19d813cbdp-26), p, r)
    p = fma(F64(0x1.27e4c57398d91p-22), p, r)
    p = fma(F64(0x1.71ddf825f05d5p-19), p, r)
    p = fma(F64(0x1.a01a01b0cbde2p-16), p, r)
    p = fma(F64(0x1.a01a01aff46d6p-13), p, r)
    p = fma(F64(0x1.6c16c16c1440fp-10), p, r)
    p = fma(F64(0x1.111111110f690p-7), p, r)
    p = fma(F64(0x1.555555555555ap-5), p, r)
    p = fma(F64(0x1.5555555555559p-3), p, r)
    return fma(F64(0.5), p, r)
  }

  @inline(__always) static func logOnePlus(_ f: F64) -> F64 {
    let s = f / (F64(2) + f)
    let z = s * s
    var p = F64(0x1.0c11348cee62ap-3)
    p = fma(F64(0x1.0fbd3d1a064d2p-3), p, z)
    p = fma(F64(0x1.3b1c42bf11682p-3), p, z)
    p = fma(F64(0x1.745cf8c2a17edp-3), p, z)
    p = fma(F64(0x1.c71c7201ff537p-3), p, z)
    p = fma(F64(0x1.2492492476692p-2), p, z)
    p = fma(F64(0x1.9999999999a3ap-2), p, z)
    p = fma(F64(0x1.5555555555555p-1), p, z)
    // f - f^2 / 2 is exact enough only if the remainder is added to the small part first.
    let half = f * f * F64(0.5)
    return f - (half - s * fma(half, z, p))
  }

  /// (1 + a) exp(a^2 / 2) Phi(-a) as a polynomial of (a - 3) / (a + 3), fitted to 39; beyond, to
  /// 55, within 1e-13. Both quotients are from one division.
  @inline(__always) static func upperTail(_ a: F64) -> F64 {
    let (above, next) = (a + F64(3), a + F64(1))
    let quotient = F64(1) / (above * next)
    return normalTail((a - F64(3)) * (next * quotient)) * (above * quotient)
  }

  @inline(__always) private static func normalTail(_ t: F64) -> F64 {
    var p = F64(-0x1.4bd7f54fcdab9p-28)
    p = fma(F64(-0x1.3b7767f2b75aap-27), p, t)
    p = fma(F64(0x1.09d5ebc446879p-25), p, t)
    p = fma(F64(0x1.88824721e9395p-24), p, t)
    p = fma(F64(-0x1.0d38ac66bc2fep-25), p, t)
    p = fma(F64(-0x1.a50afdd80b7aap-22), p, t)
    p = fma(F64(-0x1.c8d679991ae5cp-22), p, t)
    p = fma(F64(0x1.9a2fadc4dbcd5p-21), p, t)
    p = fma(F64(0x1.6fabc4d98517dp-19), p, t)
    p = fma(F64(0x1.501e438a2326cp-20), p, t)
    p = fma(F64(-0x1.3668fb51289a1p-17), p, t)
    p = fma(F64(-0x1.317a1ba4de28fp-16), p, t)
    p = fma(F64(0x1.24a4b4f55b0f0p-16), p, t)
    p = fma(F64(0x1.b43c44cac9d64p-14), p, t)
    p = fma(F64(0x1.23fdb6c074ba3p-16), p, t)
    p = fma(F64(-0x1.10738e4b32d6ep-11), p, t)
    p = fma(F64(-0x1.73eae85ff0f1cp-12), p, t)
    p = fma(F64(0x1.8a6e4c57958aap-9), p, t)
    p = fma(F64(0x1.304b6b8a1f4f3p-10), p, t)
    p = fma(F64(-0x1.7466cb8e693e4p-6), p, t)
    p = fma(F64(0x1.71fb8ac21399bp-5), p, t)
    p = fma(F64(-0x1.0d398fa145b12p-6), p, t)
    p = fma(F64(-0x1.8b5fa445f2897p-4), p, t)
    return fma(F64(0x1.f1b89c231e9b7p-2), p, t)
  }
}
