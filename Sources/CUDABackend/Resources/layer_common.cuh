// What the kernels of in-place activated batch normalization have in common. Defines:
//   T        element type; parameters, statistics and sums are Real<T>
//   ACT      activation of the layer, a number of activations.cuh: one that can be inverted
//   OUTER    activation behind the layer, whose value is stored beside y (forward) or whose gradient is
//            taken first (backward); IDENTITY: none
//   TRAIN    1: statistics of the batch; 0: given ones
//   RESCUE   1: a gradient will read the output, so that some channels keep x aside
//   FROM_X   1: the backward pass reads x, which was not overwritten; 0: it reads z
//   THREADS  of a block; PER: blocks that a multiprocessor holds at least
typedef Real<T> R;
#define V VEC<T>

#ifndef OUTER
#define OUTER 0
#endif
#ifndef TRAIN
#define TRAIN 1
#endif
#ifndef RESCUE
#define RESCUE 1
#endif
#ifndef FROM_X
#define FROM_X 0
#endif

/// Numbers of the layer that all channels share.
struct LayerNumbers {
  f64 epsilon;
  f64 momentum;
  /// The slope of leaky_relu, alpha of elu; of OUTER where the layer has none.
  f64 alpha;
};

/// Where channels that z does not determine keep their x: a row of the channel's elements for each,
/// sample by sample.
struct Rescue {
  /// For each channel its row, or -1. Rows from `slots` on are in `far`.
  i32* rows;
  T* room;
  /// Further rows, in memory of the host; null where there are none.
  T* far;
  /// Not 0 behind a launch that found no row for a channel, which it then has not overwritten.
  u32* full;
  i32 slots;
  i32 farSlots;
};
__device__ __forceinline__ T* rescueRow(const Rescue& rescue, i32 row, u64 elements) {
  return row < rescue.slots ? rescue.room + (u64)row * elements
                            : rescue.far + (u64)(row - rescue.slots) * elements;
}

/// A barrier of a group of resident blocks, as `groupBarrier`, whose two ends threads may call apart.
__device__ __forceinline__ u32 arriveAtBarrier(u32* counter, u32 members, u32 member) {
  return arriveAndRead(counter, member == 0 ? 0x80000000u - (members - 1) : 1u);
}
__device__ __forceinline__ void waitAtBarrier(const u32* counter, u32 before) {
  while (((acquire(counter) ^ before) & 0x80000000u) == 0) {}
}

/// Counters that are 0 before a launch and behind it.
#define COUNTER_EXIT 0
#define COUNTER_RESCUED 1
/// Of the barriers of groups, each in a line of memory of its own.
#define COUNTER_GROUPS 32
#define COUNTER_STRIDE 32

__device__ __forceinline__ f64 infinity() { return __longlong_as_double(0x7ff0000000000000LL); }
__device__ __forceinline__ f64 notANumber() { return __longlong_as_double(0x7ff8000000000000LL); }
__device__ __forceinline__ bool isFinite(f64 x) { return x - x == 0; }

// Sums.

__device__ __forceinline__ float2 warpSum(float2 v) {
#pragma unroll
  for (int d = 16; d; d >>= 1) {
    v.x += __shfl_xor_sync(0xffffffffu, v.x, d);
    v.y += __shfl_xor_sync(0xffffffffu, v.y, d);
  }
  return v;
}
__device__ __forceinline__ f64 warpSum(f64 v) {
#pragma unroll
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}
__device__ __forceinline__ f32 warpSum(f32 v) {
#pragma unroll
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
  return v;
}
__device__ __forceinline__ double2 warpSum(double2 v) {
  return make_double2(warpSum(v.x), warpSum(v.y));
}

/// The mean of a chunk's elements, of equal ones that number exactly; 0 where it is none.
__device__ __forceinline__ R meanOfFew(const R (&v)[V]) {
  R sum[V];
#pragma unroll
  for (int i = 0; i < V; i++) sum[i] = v[i];
#pragma unroll
  for (int d = V / 2; d; d >>= 1) {
#pragma unroll
    for (int i = 0; i < d; i++) sum[i] += sum[i + d];
  }
  R mean = sum[0] * ((R)1 / V);
  return isFinite(mean) ? mean : (R)0;
}

// Activations.

__device__ __forceinline__ f32 log1pOf(f32 x) { return log1pf(x); }
__device__ __forceinline__ f64 log1pOf(f64 x) { return log1p(x); }

/// Half an ulp of 1 in an element type.
template <typename E> struct Roundoff { static constexpr f64 value = 0x1p-53; };
template <> struct Roundoff<f32> { static constexpr f64 value = 0x1p-24; };
template <> struct Roundoff<f16> { static constexpr f64 value = 0x1p-11; };
template <> struct Roundoff<bf16> { static constexpr f64 value = 0x1p-8; };
/// The least number with all its digits, and the largest.
template <typename E> struct Range {
  static constexpr f64 least = 0x1p-1022, greatest = 0x1.fffffffffffffp1023;
};
template <> struct Range<f32> {
  static constexpr f64 least = 0x1p-126, greatest = 0x1.fffffep127;
};
template <> struct Range<bf16> {
  static constexpr f64 least = 0x1p-126, greatest = 0x1.fep127;
};
template <> struct Range<f16> { static constexpr f64 least = 0x1p-14, greatest = 65504; };

/// y and f'(y) from z.
__device__ __forceinline__ void invert(R z, R slope, R inverseSlope, R& y, R& d) {
#if ACT == LEAKY_RELU || ACT == PRELU
  bool bent = !(z > 0);
  y = bent ? z * inverseSlope : z;
  d = bent ? slope : (R)1;
#elif ACT == ELU
  // Where z has been rounded to -alpha, y is the largest that could have been; in types whose
  // elements are rounded further -alpha itself may be above z.
  R t = z * inverseSlope, least = (R)(Roundoff<T>::value / 2 - 1);
  bool bent = !(z > 0);
  R curve = z + slope;
  t = t < least ? least : t;
  curve = curve < 0 ? 0 : curve;
  y = bent ? log1pOf(t) : z;
  d = bent ? curve : (R)1;
#else
  y = z;
  d = 1;
#endif
}

// Which channels keep x.

/// The y below which elu has lost too many digits of it; see `isLost`.
__device__ __forceinline__ f64 saturation(f64 size, f64 bias, f64 allowed) {
  // exp(-y) = 1 + allowed * (size + bias - y) has no formula: one step from a first guess of y = -4
  // on the right leaves a few hundredths.
  f64 guess = -log(1 + allowed * (size + fmax(0.0, bias + 4)));
  return -log(1 + allowed * (size + fmax(0.0, bias - guess)));
}

/// Whether z does not tell x well enough: `RescueRule` of the processor's kernels has the reasons.
/// xhat has the mean `mean` and the mean square `square` over the channel's `count` elements.
__device__ __noinline__ bool isLost(
    f64 scale, f64 bias, f64 slope, f64 mean, f64 square, f64 count) {
  f64 size = fabs(scale) * sqrt(square), offset = fabs(bias);
  if (!(fabs(scale) > 0 && isFinite(scale) && isFinite(bias) && isFinite(slope))) return true;
  f64 leastSlope = Range<R>::least;
  if (!(slope >= leastSlope && slope <= 1 / leastSlope)) return true;
#if ACT == ELU
  f64 allowed = slope == 1 ? 16 : 8, limit = saturation(size, bias, allowed);
  f64 deviation = sqrt(fmax(0.0, square - mean * mean)), centre = bias + scale * mean;
  if (centre - 2 * fabs(scale) * deviation < limit) return true;
  if (expm1(fmax(0.0, -centre)) > allowed * size) return true;
#endif
  // A constant channel: z is what bias is stored as, which stands for an xhat of 0.
  if (square == 0 && mean == 0) return false;
  f64 below = fmin(1.0, slope), above = fmax(1.0, slope);
  return offset > (count < 32 ? 2 : 8) * size || size * below < 4 * Range<T>::least
      || (offset + size * sqrt(count)) * above > Range<T>::greatest;
}

// From statistics to what is done to an element.

/// y = (x - mean) * gain + shift.
struct ForwardNumbers {
  R mean, gain, shift, slope;
  i32 lost, redo;
};
/// What a thread reads of a channel ahead of its statistics.
struct ChannelParameters {
  R scale, bias, slope;
};
__device__ __forceinline__ ChannelParameters channelParameters(
    const R* scale, const R* bias, const R* slopes, f64 alpha, u32 c) {
  ChannelParameters p;
  p.scale = scale[c];
  p.bias = bias[c];
#if ACT == PRELU
  p.slope = slopes[0];
#else
  p.slope = (R)alpha;
#endif
  return p;
}

/// Where statistics go, or come from.
struct StatisticsPointers {
  /// [3][channels]: mean, what rounding took from it, 1 / sqrt(variance + epsilon); may be null.
  R* saved;
  R* movingMean;
  R* movingVariance;
  /// A variable momentum, or null.
  const f32* momentum;
};

/// A mean, and what was missing in it. An infinite one stays: the distances to it say nothing.
__device__ __forceinline__ f64 movedMean(f64 mean, f64 distance) {
  return isFinite(mean) ? mean + distance : mean;
}

/// At least 0; NaN stays.
__device__ __forceinline__ f64 notNegative(f64 square) { return square < 0 ? 0 : square; }

/// The numbers of a channel with these statistics, which the thread that `stores` also saves. `shift`
/// is the mean less `pivot`; with given statistics the mean is the pivot.
__device__ __forceinline__ ForwardNumbers forwardNumbers(
    const StatisticsPointers& s, const LayerNumbers& numbers, const ChannelParameters& p, u32 c,
    u32 channels, f64 count, f64 mean, f64 variance, f64 squareAroundGiven, bool stores) {
  ForwardNumbers n;
  f64 inverse, xhatMean = 0, xhatSquare;
#if TRAIN
  inverse = rsqrt(variance + numbers.epsilon);
  R high = (R)mean, remainder = isFinite(mean) ? (R)(mean - (f64)high) : (R)0;
  R rounded = (R)inverse;
  xhatSquare = variance * inverse * inverse;
  if (stores) {
    if (s.saved) {
      s.saved[c] = high;
      s.saved[channels + c] = remainder;
      s.saved[2 * channels + c] = rounded;
    }
    f64 keep = s.momentum ? (f64)s.momentum[0] : numbers.momentum;
    if (!(keep >= 0 && keep <= 1)) keep = notANumber();
    s.movingMean[c] = (R)((f64)s.movingMean[c] * keep + mean * (1 - keep));
    s.movingVariance[c] = (R)((f64)s.movingVariance[c] * keep + variance * (1 - keep));
  }
#else
  // `mean` is that of x - given mean.
  R high = s.movingMean[c], remainder = 0;
  R rounded = (R)rsqrt((f64)s.movingVariance[c] + numbers.epsilon);
  inverse = rounded;
  xhatMean = mean * inverse;
  xhatSquare = squareAroundGiven * inverse * inverse;
  if (!(xhatSquare >= 0)) xhatSquare = infinity();
  if (stores && s.saved) {
    s.saved[c] = high;
    s.saved[channels + c] = remainder;
    s.saved[2 * channels + c] = rounded;
  }
#endif
  f64 gain = (f64)rounded * p.scale, shift = (f64)p.bias - (f64)remainder * gain;
  n.mean = high;
  // Where x - mean can exceed the largest number, at most sqrt(count) deviations, the mean is at most
  // twice that: its part is taken out of the shift.
  f64 reach = (f64)rounded * (sizeof(R) == 8 ? 0x1p1023 : 0x1p127);
  if (reach * reach < count) {
    shift = (f64)p.bias - ((f64)high + (f64)remainder) * gain;
    n.mean = 0;
  }
  n.gain = (R)gain;
  n.shift = (R)shift;
  n.slope = p.slope;
  n.redo = 0;
#if RESCUE
  n.lost = isLost(p.scale, p.bias, p.slope, xhatMean, xhatSquare, count);
#else
  n.lost = 0;
#endif
  return n;
}

// The backward pass. With dy = dz * f'(y), dbias = sum(dy) and dscale = sum(dy * xhat)
//
//   dx = gain * dy - gain * dbias / m - gain * xhat * dscale / m,  gain = scale * inverse deviation
//
// and without the last two terms for given statistics. Three ways to the sums and to dx:
// * DIRECT, of 16-bit elements and activations that are a line on either side of zero: y is not
//   computed, as dy * y = dz * z; dx is a sum of multiples of dz and z and a constant.
// * CAREFUL: distance = y - bias, which is 0 where z is what bias is stored as, so that dscale of a
//   constant channel is exactly 0 and a small variance keeps its digits.
// * INPUT: distance = xhat from x, of channels that keep it, or of the layer that does not overwrite it.
#define DIRECT 0
#define CAREFUL 1
#define INPUT 2

/// What is known of a channel before its sums.
struct ChannelState {
  R scale, bias, slope, mean, remainder, inverse;
  /// The row of the rescue, or -1.
  i32 row;
};
__device__ __forceinline__ ChannelState channelState(
    const R* scale, const R* bias, const R* slopes, const R* saved, const i32* rows, f64 alpha,
    u32 c, u32 channels) {
  ChannelState s;
  s.scale = scale[c];
  s.bias = bias[c];
#if ACT == PRELU
  s.slope = slopes[0];
#else
  s.slope = (R)alpha;
#endif
  s.inverse = saved[2 * channels + c];
  s.row = -1;
  s.mean = s.remainder = 0;
#if FROM_X || RESCUE
  s.mean = saved[c];
  s.remainder = saved[channels + c];
#endif
#if RESCUE && !FROM_X
  s.row = rows[c];
#endif
  return s;
}

/// Whether DIRECT is as exact as CAREFUL: bias is not large against scale, the variance is at least
/// epsilon, so that z is not all bias, and no factor comes near the ends of the type.
__device__ __forceinline__ bool isDirect(const ChannelState& s, f64 epsilon, f64 count) {
#if TRAIN && !FROM_X && !OUTER && ACT != ELU
  R factor = fabs(s.scale * s.inverse);
  return sizeof(T) == 2 && s.row == -1 && count >= 32 && fabs(s.bias) <= 8 * fabs(s.scale)
      && (R)epsilon * s.inverse * s.inverse <= (R)0.5 && s.slope >= (R)0x1p-20
      && s.slope <= (R)0x1p20 && factor >= (R)0x1p-60 && factor <= (R)0x1p60;
#else
  return false;
#endif
}

/// What the element loops use of a channel.
struct BackwardNumbers {
  /// CAREFUL: y where xhat is 0, as it is stored.
  R bias, plain;
  R slope, inverseSlope;
  /// INPUT: xhat = ((x - mean) - remainder) * inverse, y = xhat * scale + bias.
  R mean, remainder, inverse, scale;
  /// dx = dyFactor * dy + offset + distanceFactor * distance; DIRECT: dz * dzFactor + z * zFactor +
  /// offset, with other factors where z is not above 0.
  R dyFactor, offset, distanceFactor, bentDy, bentDistance;
};
__device__ __forceinline__ BackwardNumbers backwardNumbers(const ChannelState& s) {
  BackwardNumbers n;
  n.bias = s.bias;
  n.slope = s.slope;
  n.inverseSlope = (R)1 / s.slope;
  n.plain = real(cast<T>(activate<ACT>(s.bias, s.slope)));
  n.mean = s.mean;
  n.remainder = s.remainder;
  n.inverse = s.inverse;
  n.scale = s.scale;
  n.dyFactor = n.offset = n.distanceFactor = n.bentDy = n.bentDistance = 0;
  return n;
}

/// y, dy and the distance of an element from what is kept of it.
template <int WAY>
__device__ __forceinline__ void point(
    const BackwardNumbers& n, R kept, R dz, R alpha, R& y, R& dy, R& distance) {
  R d;
  if (WAY == INPUT) {
    distance = ((kept - n.mean) - n.remainder) * n.inverse;
    y = fused(n.bias, distance, n.scale);
    d = activationGradient<ACT>(y, (R)1, n.slope);
  } else {
    invert(kept, n.slope, n.inverseSlope, y, d);
    distance = kept == n.plain ? (R)0 : y - n.bias;
  }
#if OUTER
  // The activation behind the layer read y as it was stored.
  dy = activationGradient<OUTER>(WAY == INPUT ? real(cast<T>(y)) : y, dz, alpha);
#else
  dy = dz * d;
#endif
}

/// The sums over elements: of dy, of dy * distance (DIRECT: dz * z), and for PRELU of dz * y left of
/// zero (DIRECT: dz * z).
struct Sums {
  R dy, distance, slope;
};
template <int WAY>
__device__ __forceinline__ void addPoint(
    const BackwardNumbers& n, R kept, R dz, R alpha, Sums& sums) {
  if (WAY == DIRECT) {
    sums.distance = fused(sums.distance, dz, kept);
#if ACT == LEAKY_RELU
    sums.dy = fused(sums.dy, dz, kept > 0 ? (R)1 : n.slope);
#elif ACT == PRELU
    bool bent = !(kept > 0);
    sums.dy = fused(sums.dy, dz, bent ? n.slope : (R)1);
    if (bent) sums.slope = fused(sums.slope, dz, kept);
#else
    sums.dy += dz;
#endif
    return;
  }
  R y, dy, distance;
  point<WAY>(n, kept, dz, alpha, y, dy, distance);
  sums.dy += dy;
  sums.distance = fused(sums.distance, dy, distance);
#if ACT == PRELU
  if (!(y > 0)) sums.slope = fused(sums.slope, dz, y);
#endif
}
template <int WAY>
__device__ __forceinline__ R gradientOfX(const BackwardNumbers& n, R kept, R dz, R alpha) {
  if (WAY == DIRECT) {
#if ACT == LEAKY_RELU || ACT == PRELU
    bool bent = !(kept > 0);
    return fused(fused(n.offset, kept, bent ? n.bentDistance : n.distanceFactor), dz,
                 bent ? n.bentDy : n.dyFactor);
#else
    return fused(fused(n.offset, kept, n.distanceFactor), dz, n.dyFactor);
#endif
  }
  R y, dy, distance;
  point<WAY>(n, kept, dz, alpha, y, dy, distance);
#if TRAIN
  return fused(fused(n.offset, distance, n.distanceFactor), dy, n.dyFactor);
#else
  return dy * n.dyFactor;
#endif
}

/// The gradients of parameters from a channel's sums in f64, which the thread that `stores` saves, and
/// the factors of dx.
struct ParameterGradients {
  R* scale;
  R* bias;
  /// PRELU: what is added up to be the slope's: a share for each channel, or for each block and slice.
  f64* slopeShares;
};
__device__ __forceinline__ void finishSums(
    BackwardNumbers& n, const ChannelState& s, int way, f64 dy, f64 distance, f64 count,
    const ParameterGradients& to, u32 c, bool stores) {
  f64 gain = (f64)s.scale * s.inverse, dscale;
  if (way == DIRECT) distance -= (f64)s.bias * dy;
  dscale = way == INPUT ? distance : distance / s.scale;
  if (stores) {
    to.bias[c] = (R)dy;
    to.scale[c] = (R)dscale;
  }
  n.dyFactor = (R)gain;
#if TRAIN
  n.offset = (R)(-gain * (dy / count));
  n.distanceFactor = (R)(-(way == INPUT ? gain : (f64)s.inverse) * (dscale / count));
#endif
  if (way == DIRECT) {
    n.bentDy = n.dyFactor * s.slope;
    n.bentDistance = n.distanceFactor * n.inverseSlope;
    n.offset -= s.bias * n.distanceFactor;
  }
}
