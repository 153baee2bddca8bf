// The activations z = f(y) and their derivatives, and the elementary functions that they are made
// of, in the precision of Num: f32 or f64.
//
// The same steps as the processor's (Sources/Kernels/Template: Mathematics.swift, Curves.swift),
// with the same constants: where a compiler makes no fused multiply-add of a product and a sum
// (--fmad=false) these are the processor's bits, and its error bounds hold here. exp never gets a
// positive argument, what is multiplied with a vanishing exponential is finite, and a derivative
// near saturation is a product of what is left, never a difference of two numbers near 1. NaN stays
// NaN.

// The numbers of the functions, as the processor's kernels have them.
#define IDENTITY 0
#define LEAKY_RELU 1
#define PRELU 2
#define ELU 3
#define RELU 4
#define RELU6 5
#define SIGMOID 6
#define TANH 7
#define SWISH 8
#define GELU 9
#define HARD_SWISH 10
#define MISH 11
#define HARD_SIGMOID 12

// What the two precisions have under one name. fused(c, a, b) is c + a * b, rounded once.
__device__ __forceinline__ f32 fused(f32 c, f32 a, f32 b) { return fmaf(a, b, c); }
__device__ __forceinline__ f64 fused(f64 c, f64 a, f64 b) { return fma(a, b, c); }
__device__ __forceinline__ f32 magnitude(f32 x) { return fabsf(x); }
__device__ __forceinline__ f64 magnitude(f64 x) { return fabs(x); }
__device__ __forceinline__ f32 squareRoot(f32 x) { return sqrtf(x); }
__device__ __forceinline__ f64 squareRoot(f64 x) { return sqrt(x); }
/// The larger, or the smaller, of the two; a NaN of x stays.
template <typename Num> __device__ __forceinline__ Num atLeast(Num x, Num bound) {
  return bound > x ? bound : x;
}
template <typename Num> __device__ __forceinline__ Num atMost(Num x, Num bound) {
  return x > bound ? bound : x;
}

/// What elementary functions need of the representation of Num.
template <typename Num> struct Numbers;

template <> struct Numbers<f32> {
  /// Adding and subtracting it rounds to an integer; with the bias of exponents, so that the lowest
  /// bits of a sum with it are an exponent.
  static __device__ __forceinline__ f32 magic() { return 0x1.8p23f + 127.0f; }
  /// ln(2) in two parts, of which a product with the first is exact.
  static __device__ __forceinline__ f32 ln2High() { return 0x1.62e4p-1f; }
  static __device__ __forceinline__ f32 ln2Low() { return 1.4286068203094172e-06f; }
  /// Below it exp is 0.
  static __device__ __forceinline__ f32 least() { return -104.0f; }
  /// From here on exp is a normal number.
  static __device__ __forceinline__ f32 leastPlain() { return -87.0f; }
  static __device__ __forceinline__ f32 greatest() { return 0x1.fffffep127f; }
  /// Beyond it exp(-a^2 / 2) only counts times a huge number.
  static __device__ __forceinline__ f32 tailEnd() { return 21.0f; }

  /// 2^n for integral n within the normal exponents, from n + magic.
  static __device__ __forceinline__ f32 power(f32 shifted) {
    return __uint_as_float(__float_as_uint(shifted) << 23);
  }

  /// (expm1(r) - r) / r^2 for |r| <= ln(2) / 2.
  static __device__ __forceinline__ f32 expTail(f32 r) {
    f32 square = r * r;
    f32 high = fused(0.04166628047823906f, 0.008366631343960762f, r);
    f32 low = fused(0.5f, 0.16666541993618011f, r);
    return fused(low, fused(high, 0.0013946545077487826f, square), square);
  }

  /// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)).
  static __device__ __forceinline__ f32 logOnePlus(f32 f) {
    f32 square = f * f;
    f32 p0 = fused(-0.49999991059303284f, 0.33333951234817505f, f);
    f32 p2 = fused(-0.25001755356788635f, 0.19962072372436523f, f);
    f32 p4 = fused(-0.16570508480072021f, 0.14917974174022675f, f);
    f32 p6 = fused(-0.14307521283626556f, 0.08734843134880066f, f);
    return fused(f, square, fused(p0, square, fused(p2, square, fused(p4, square, p6))));
  }

  /// Phi(-a) / exp(-a^2 / 2) for a in 0 ... tailEnd, Phi the normal distribution.
  static __device__ __forceinline__ f32 upperTail(f32 a) {
    f32 p = 0.00407755337168f;
    p = fused(0.0403722048159f, p, a);
    p = fused(0.182460840564f, p, a);
    p = fused(0.437249644356f, p, a);
    p = fused(0.5f, p, a);
    f32 q = 0.0102207818157f;
    q = fused(0.101204920267f, q, a);
    q = fused(0.467426472751f, q, a);
    q = fused(1.1992867319f, q, a);
    q = fused(1.67238424373f, q, a);
    q = fused(1.0f, q, a);
    return p / q;
  }

  /// x = m * 2^k with m in [sqrt(1/2), sqrt(2)), for x > 0.
  static __device__ __forceinline__ f32 split(f32 x, f32& k) {
    bool isTiny = 0x1p-126f > x;
    u32 bits = __float_as_uint(isTiny ? x * 0x1p24f : x);
    u32 exponent = (bits + (0x3F800000u - 0x3F3504F3u)) >> 23;
    k = (f32)(i32)exponent - 127.0f - (isTiny ? 24.0f : 0.0f);
    return __uint_as_float(bits - (exponent << 23) + 0x3F800000u);
  }
};

template <> struct Numbers<f64> {
  static __device__ __forceinline__ f64 magic() { return 0x1.8p52 + 1023.0; }
  static __device__ __forceinline__ f64 ln2High() { return 0x1.62e42feep-1; }
  static __device__ __forceinline__ f64 ln2Low() { return 1.90821492927058770002e-10; }
  static __device__ __forceinline__ f64 least() { return -746.0; }
  static __device__ __forceinline__ f64 leastPlain() { return -708.0; }
  static __device__ __forceinline__ f64 greatest() { return 0x1.fffffffffffffp1023; }
  static __device__ __forceinline__ f64 tailEnd() { return 55.0; }

  static __device__ __forceinline__ f64 power(f64 shifted) {
    return __longlong_as_double((i64)((u64)__double_as_longlong(shifted) << 52));
  }

  static __device__ __forceinline__ f64 expTail(f64 r) {
    f64 p = 0x1.1f95aa4b9d3edp-29;
    p = fused(0x1.af5f19d813cbdp-26, p, r);
    p = fused(0x1.27e4c57398d91p-22, p, r);
    p = fused(0x1.71ddf825f05d5p-19, p, r);
    p = fused(0x1.a01a01b0cbde2p-16, p, r);
    p = fused(0x1.a01a01aff46d6p-13, p, r);
    p = fused(0x1.6c16c16c1440fp-10, p, r);
    p = fused(0x1.111111110f690p-7, p, r);
    p = fused(0x1.555555555555ap-5, p, r);
    p = fused(0x1.5555555555559p-3, p, r);
    return fused(0.5, p, r);
  }

  static __device__ __forceinline__ f64 logOnePlus(f64 f) {
    f64 s = f / (2.0 + f);
    f64 z = s * s;
    f64 p = 0x1.0c11348cee62ap-3;
    p = fused(0x1.0fbd3d1a064d2p-3, p, z);
    p = fused(0x1.3b1c42bf11682p-3, p, z);
    p = fused(0x1.745cf8c2a17edp-3, p, z);
    p = fused(0x1.c71c7201ff537p-3, p, z);
    p = fused(0x1.2492492476692p-2, p, z);
    p = fused(0x1.9999999999a3ap-2, p, z);
    p = fused(0x1.5555555555555p-1, p, z);
    // f - f^2 / 2 is exact enough only if the remainder is added to the small part first.
    f64 half = f * f * 0.5;
    return f - (half - s * fused(half, z, p));
  }

  /// (1 + a) exp(a^2 / 2) Phi(-a) as a polynomial of (a - 3) / (a + 3); both quotients are from one
  /// division.
  static __device__ __forceinline__ f64 upperTail(f64 a) {
    f64 above = a + 3.0, next = a + 1.0;
    f64 quotient = 1.0 / (above * next);
    f64 t = (a - 3.0) * (next * quotient);
    f64 p = -0x1.4bd7f54fcdab9p-28;
    p = fused(-0x1.3b7767f2b75aap-27, p, t);
    p = fused(0x1.09d5ebc446879p-25, p, t);
    p = fused(0x1.88824721e9395p-24, p, t);
    p = fused(-0x1.0d38ac66bc2fep-25, p, t);
    p = fused(-0x1.a50afdd80b7aap-22, p, t);
    p = fused(-0x1.c8d679991ae5cp-22, p, t);
    p = fused(0x1.9a2fadc4dbcd5p-21, p, t);
    p = fused(0x1.6fabc4d98517dp-19, p, t);
    p = fused(0x1.501e438a2326cp-20, p, t);
    p = fused(-0x1.3668fb51289a1p-17, p, t);
    p = fused(-0x1.317a1ba4de28fp-16, p, t);
    p = fused(0x1.24a4b4f55b0f0p-16, p, t);
    p = fused(0x1.b43c44cac9d64p-14, p, t);
    p = fused(0x1.23fdb6c074ba3p-16, p, t);
    p = fused(-0x1.10738e4b32d6ep-11, p, t);
    p = fused(-0x1.73eae85ff0f1cp-12, p, t);
    p = fused(0x1.8a6e4c57958aap-9, p, t);
    p = fused(0x1.304b6b8a1f4f3p-10, p, t);
    p = fused(-0x1.7466cb8e693e4p-6, p, t);
    p = fused(0x1.71fb8ac21399bp-5, p, t);
    p = fused(-0x1.0d398fa145b12p-6, p, t);
    p = fused(-0x1.8b5fa445f2897p-4, p, t);
    p = fused(0x1.f1b89c231e9b7p-2, p, t);
    return p * (above * quotient);
  }

  static __device__ __forceinline__ f64 split(f64 x, f64& k) {
    bool isTiny = 0x1p-1022 > x;
    u64 bits = (u64)__double_as_longlong(isTiny ? x * 0x1p54 : x);
    u64 exponent = (bits + (0x3FF0000000000000ull - 0x3FE6A09E667F3BCDull)) >> 52;
    k = (f64)(i32)exponent - 1023.0 - (isTiny ? 54.0 : 0.0);
    return __longlong_as_double((i64)(bits - (exponent << 52) + 0x3FF0000000000000ull));
  }
};

// Elementary functions.

/// exp(x) where the result is a normal number.
template <typename Num> __device__ __forceinline__ Num plainExp(Num x) {
  typedef Numbers<Num> N;
  Num shifted = fused(N::magic(), x, Num(1.4426950408889634));
  Num n = shifted - N::magic();
  Num r = fused(fused(x, n, -N::ln2High()), n, -N::ln2Low());
  return (Num(1) + fused(r, r * r, N::expTail(r))) * N::power(shifted);
}

/// exp(x), within 1.25 ulps; subnormal results within one rounding of that.
template <typename Num> __device__ __forceinline__ Num exponential(Num value) {
  typedef Numbers<Num> N;
  Num x = atMost(atLeast(value, N::least()), -N::least());
  Num n = fused(N::magic(), x, Num(1.4426950408889634)) - N::magic();
  Num r = fused(fused(x, n, -N::ln2High()), n, -N::ln2Low());
  Num p = Num(1) + fused(r, r * r, N::expTail(r));
  // Two steps, as 2^n alone is not a normal number at the ends.
  Num half = fused(N::magic(), n, Num(0.5));
  return p * N::power(half) * N::power((n - (half - N::magic())) + N::magic());
}

/// Whether exp(x) is a normal number, x not being positive; NaN counts as that.
template <typename Num> __device__ __forceinline__ bool isPlain(Num x) {
  return !(Numbers<Num>::leastPlain() > x);
}

/// exp(x) for x <= 0.
template <typename Num> __device__ __forceinline__ Num decay(Num x) {
  return isPlain(x) ? plainExp(x) : exponential(x);
}

/// The natural logarithm, within 1.5 ulps: minus infinity of 0, NaN below it.
template <typename Num> __device__ __forceinline__ Num logarithm(Num x) {
  typedef Numbers<Num> N;
  if (x > N::greatest()) return x;
  if (x > Num(0)) {
    Num k;
    Num m = N::split(x, k);
    return fused(fused(N::logOnePlus(m - Num(1)), k, N::ln2Low()), k, N::ln2High());
  }
  return x == Num(0) ? Num(-1) / magnitude(x) : (x - x) / magnitude(x - x);
}

/// exp(x) - 1 for x <= 0, within 1.25 ulps; -1 far below.
template <typename Num> __device__ __forceinline__ Num expMinusOneOfNegative(Num value) {
  typedef Numbers<Num> N;
  // -1 to the last bit from here on down, and 2^n stays a normal number.
  Num x = atLeast(value, Num(-64));
  Num shifted = fused(N::magic(), x, Num(1.4426950408889634));
  Num n = shifted - N::magic();
  // In float32 ln(2) as one number is right to 0.05 u.
  Num r = sizeof(Num) == 4 ? fused(x, n, Num(-0.6931471805599453))
                       : fused(fused(x, n, -N::ln2High()), n, -N::ln2Low());
  Num s = N::power(shifted);
  return fused(s - Num(1), s, fused(r, r * r, N::expTail(r)));
}

// The activations.

/// At most 4000 far from 0, where exp(-|y| / 2) has long been 0: what is multiplied with it must
/// not be infinite.
template <typename Num> __device__ __forceinline__ Num bounded(Num y) {
  return atMost(atLeast(y, Num(-4000)), Num(4000));
}

/// Of mish, from e = exp(-|y|): tanh(log(1 + exp(y))) is n / d.
template <typename Num>
__device__ __forceinline__ void mishParts(Num e, bool left, Num& n, Num& d) {
  Num q = e * e;
  n = fused(left ? q : Num(1), Num(2), e);
  d = fused(n, Num(2), left ? Num(1) : q);
}

/// f(y) of the function Act; alpha is the slope of leaky_relu and prelu, or alpha of elu.
template <int Act, typename Num> __device__ __forceinline__ Num activate(Num y, Num alpha) {
  if constexpr (Act == LEAKY_RELU || Act == PRELU) {
    return y > Num(0) ? y : y * alpha;
  } else if constexpr (Act == ELU) {
    return y > Num(0) ? y : expMinusOneOfNegative(y) * alpha;
  } else if constexpr (Act == RELU) {
    return atLeast(y, Num(0));
  } else if constexpr (Act == RELU6) {
    return atMost(atLeast(y, Num(0)), Num(6));
  } else if constexpr (Act == SIGMOID) {
    Num e = decay(-magnitude(y));
    return (Num(0) > y ? e : Num(1)) / (Num(1) + e);
  } else if constexpr (Act == TANH) {
    // tanh(a) = -m / (2 + m) with m = expm1(-2 a): no cancellation anywhere.
    Num m = expMinusOneOfNegative(magnitude(y) * Num(-2));
    Num t = -m / (Num(2) + m);
    return Num(0) > y ? -t : t;
  } else if constexpr (Act == SWISH) {
    Num t = -magnitude(y);
    if (isPlain(t)) {
      Num e = plainExp(t);
      return (Num(0) > y ? y * e : y) / (Num(1) + e);
    }
    Num b = atLeast(y, Num(-4000));
    Num h = exponential(magnitude(b) * Num(-0.5));
    return (Num(0) > b ? b * h * h : b) / (Num(1) + h * h);
  } else if constexpr (Act == GELU) {
    // With p = y * Phi(-|y|): p left of 0, y - p right of it.
    Num t = y * y * Num(-0.5);
    if (isPlain(t)) {
      Num p = y * (plainExp(t) * Numbers<Num>::upperTail(magnitude(y)));
      return y > Num(0) ? y - p : p;
    }
    Num a = atMost(magnitude(y), Numbers<Num>::tailEnd());
    Num tail = exponential(a * a * Num(-0.5)) * Numbers<Num>::upperTail(a);
    return atLeast(y, -Numbers<Num>::tailEnd()) * (Num(0) > y ? tail : Num(1) - tail);
  } else if constexpr (Act == HARD_SWISH) {
    return y > Num(3) ? y : Num(-3) > y ? Num(0) : y * (y + Num(3)) / Num(6);
  } else if constexpr (Act == HARD_SIGMOID) {
    return atMost(atLeast(y + Num(3), Num(0)), Num(6)) / Num(6);
  } else if constexpr (Act == MISH) {
    Num t = -magnitude(y), n, d;
    if (isPlain(t)) {
      mishParts(plainExp(t), Num(0) > y, n, d);
      return y * n / d;
    }
    Num b = atLeast(y, Num(-4000));
    Num h = exponential(magnitude(b) * Num(-0.5)), e = h * h;
    bool left = Num(0) > b;
    mishParts(e, left, n, d);
    return left ? b * h * h * ((Num(2) + e) / d) : b * (n / d);
  } else {
    return y;
  }
}

/// dz * f'(y) of the function Act: vanishing derivatives are multiplied with dz root by root, so
/// that none is rounded to 0 before.
template <int Act, typename Num>
__device__ __forceinline__ Num activationGradient(Num y, Num dz, Num alpha) {
  typedef Numbers<Num> N;
  if constexpr (Act == LEAKY_RELU || Act == PRELU) {
    return y > Num(0) ? dz : alpha * dz;
  } else if constexpr (Act == ELU) {
    Num b = atMost(y, Num(0));
    if (isPlain(b)) return y > Num(0) ? dz : dz * (alpha * plainExp(b));
    Num h = exponential(b * Num(0.5));
    return dz * h * (alpha * h);
  } else if constexpr (Act == RELU) {
    return y > Num(0) ? dz : Num(0);
  } else if constexpr (Act == RELU6) {
    return y > Num(0) && Num(6) > y ? dz : Num(0);
  } else if constexpr (Act == SIGMOID) {
    Num t = -magnitude(y);
    if (isPlain(t)) {
      Num e = plainExp(t), q = Num(1) / (Num(1) + e);
      return dz * (e * q * q);
    }
    Num h = exponential(t * Num(0.5)), root = h / (Num(1) + h * h);
    return dz * root * root;
  } else if constexpr (Act == TANH) {
    // Four times the gradient of sigmoid at 2 y.
    Num t = magnitude(y) * Num(-2);
    if (isPlain(t)) {
      Num e = plainExp(t), q = Num(2) / (Num(1) + e);
      return dz * (e * q * q);
    }
    Num h = exponential(-magnitude(y)), root = (h + h) / (Num(1) + h * h);
    return dz * root * root;
  } else if constexpr (Act == SWISH) {
    Num t = -magnitude(y);
    if (isPlain(t)) {
      Num e = plainExp(t), q = Num(1) / (Num(1) + e);
      return dz * (q * fused(Num(0) > y ? e : Num(1), y * e, q));
    }
    Num b = bounded(y);
    Num h = exponential(magnitude(b) * Num(-0.5)), e = h * h;
    Num q = Num(1) / (Num(1) + e);
    Num s = fused(q, (Num(0) > b ? b : b * e) * q, q);
    Num root = Num(0) > b ? h : Num(1);
    return dz * root * s * root;
  } else if constexpr (Act == GELU) {
    Num t = y * y * Num(-0.5);
    if (isPlain(t)) {
      Num a = magnitude(y);
      Num s = fused(N::upperTail(a), a, Num(-0.3989422804014327)) * plainExp(t);
      return dz * (Num(0) > y ? s : Num(1) - s);
    }
    Num a = atMost(magnitude(y), N::tailEnd());
    Num h = exponential(a * a * Num(-0.25));
    Num s = fused(N::upperTail(a), a, Num(-0.3989422804014327));
    return Num(0) > y ? dz * h * s * h : dz * fused(Num(1), -h, s * h);
  } else if constexpr (Act == HARD_SWISH) {
    // 0 at -3 and left of it, dz at 3 and right of it, where y may be infinite.
    if (y >= Num(3)) return dz;
    return y <= Num(-3) ? Num(0) : dz * ((y + y + Num(3)) / Num(6));
  } else if constexpr (Act == HARD_SIGMOID) {
    return y > Num(-3) && Num(3) > y ? dz / Num(6) : Num(0);
  } else if constexpr (Act == MISH) {
    Num t = -magnitude(y), n, d;
    if (isPlain(t)) {
      Num e = plainExp(t);
      bool left = Num(0) > y;
      mishParts(e, left, n, d);
      Num r = Num(1) / d;
      Num bend = fused(Num(4), Num(4), e) * (y * (left ? e : e * e));
      return dz * (r * fused(n, r, bend));
    }
    Num b = bounded(y);
    Num h = exponential(magnitude(b) * Num(-0.5)), e = h * h;
    bool left = Num(0) > b;
    mishParts(e, left, n, d);
    Num r = Num(1) / d;
    // Left of 0 without a factor of e.
    Num bend = fused(Num(4), Num(4), e) * (b * (left ? Num(1) : e * e));
    Num s = r * fused(left ? Num(2) + e : n, r, bend);
    Num root = left ? h : Num(1);
    return dz * root * s * root;
  } else {
    return dz;
  }
}

/// f'(y) of the function Act.
template <int Act, typename Num> __device__ __forceinline__ Num derivative(Num y, Num alpha) {
  return activationGradient<Act>(y, Num(1), alpha);
}
