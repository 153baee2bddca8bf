// In-place activated batch normalization of any size and alignment, by kernels that need not be
// resident together: sums by channel, what follows from them, and a pass over the elements. Sums are
// in float64. It reads x twice for the statistics, as the mean must be known for the squares.
//   LAST     1: channels stand beside one another; 0: the elements of a channel do
//   THREADS  256
typedef struct {
  /// Elements of a channel, and of them those of one sample.
  i64 count, spatial;
  i64 channels;
  /// Into how many parts the elements of a channel are cut for their sums.
  i64 parts;
} General;

#if LAST
#define LANES 32
#else
#define LANES 1
#endif
#define ALONG (THREADS / LANES)

__device__ __forceinline__ i64 placeOf(const General& g, i64 k, i64 c) {
#if LAST
  return k * g.channels + c;
#else
  return (k / g.spatial * g.channels + c) * g.spatial + k % g.spatial;
#endif
}

/// The sums of a block's threads over their channel: those of the lanes that share it.
__device__ __forceinline__ void blockSums(f64 (&sums)[3], f64* shared) {
  for (int i = 0; i < 3; i++) {
    __syncthreads();
    shared[threadIdx.x] = sums[i];
    __syncthreads();
    for (u32 half = ALONG / 2; half; half /= 2) {
      if (threadIdx.x < half * LANES) shared[threadIdx.x] += shared[threadIdx.x + half * LANES];
      __syncthreads();
    }
    sums[i] = shared[threadIdx.x % LANES];
  }
}

/// Which part of which channel a block's turn is about.
struct Turn {
  i64 channel, part, lo, hi;
};
__device__ __forceinline__ i64 turns(const General& g) {
  return (g.channels + LANES - 1) / LANES * g.parts;
}
__device__ __forceinline__ Turn turnOf(const General& g, i64 number) {
  Turn t;
  t.part = number % g.parts;
  t.channel = number / g.parts * LANES + threadIdx.x % LANES;
  t.lo = g.count * t.part / g.parts;
  t.hi = g.count * (t.part + 1) / g.parts;
  return t;
}

/// Sums of x, then, with `means`, of the distances to them and their squares; with given statistics of
/// the distances to the given mean. partials: [channel][part][3].
extern "C" __global__ void __launch_bounds__(THREADS)
    generalStatistics(const T* x, const f64* means, const R* given, f64* partials, General g) {
  __shared__ f64 shared[THREADS];
  for (i64 number = blockIdx.x; number < turns(g); number += gridDim.x) {
    Turn t = turnOf(g, number);
    f64 sums[3] = {0, 0, 0};
    if (t.channel < g.channels) {
      f64 origin = means ? means[t.channel] : given ? (f64)given[t.channel] : 0;
      for (i64 k = t.lo + threadIdx.x / LANES; k < t.hi; k += ALONG) {
        f64 d = (f64)real(x[placeOf(g, k, t.channel)]) - origin;
        sums[0] += d;
        sums[1] += d * d;
      }
    }
    blockSums(sums, shared);
    if (threadIdx.x < LANES && t.channel < g.channels)
      for (int i = 0; i < 2; i++) partials[(t.channel * g.parts + t.part) * 3 + i] = sums[i];
  }
}

__device__ __forceinline__ f64 sumOfParts(const f64* partials, const General& g, i64 c, int which) {
  f64 sum = 0;
  for (i64 part = 0; part < g.parts; part++) sum += partials[(c * g.parts + part) * 3 + which];
  return sum;
}

/// The means of all channels.
extern "C" __global__ void __launch_bounds__(THREADS)
    generalMeans(const f64* partials, f64* means, General g) {
  i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x; c < g.channels; c += step)
    means[c] = sumOfParts(partials, g, c, 0) / (f64)g.count;
}

/// From the sums to what is done to the elements of each channel; one block. `partials` is null where
/// nothing hangs on the elements.
extern "C" __global__ void __launch_bounds__(THREADS)
    generalForward(const f64* partials, const f64* means, const R* scale, const R* bias,
                   const R* slopes, StatisticsPointers pointers, Rescue rescue,
                   ForwardNumbers* results, General g, LayerNumbers numbers) {
  for (i64 c = threadIdx.x; c < g.channels; c += THREADS) {
    f64 count = (f64)g.count, shift = 0, square = 0, mean = 0;
    if (partials) {
      shift = sumOfParts(partials, g, c, 0) / count;
      square = sumOfParts(partials, g, c, 1) / count;
    }
#if TRAIN
    mean = movedMean(means[c], shift);
    square -= shift * shift;
#else
    mean = shift;
#endif
    f64 variance = square > 0 || square != square ? square : 0;
    ChannelParameters p = channelParameters(scale, bias, slopes, numbers.alpha, c);
    results[c] = forwardNumbers(
        pointers, numbers, p, c, g.channels, count, mean, variance, variance, true);
#if RESCUE
    rescue.rows[c] = -1;
#endif
  }
#if RESCUE
  __syncthreads();
  if (threadIdx.x == 0) {
    i32 row = 0;
    for (i64 c = 0; c < g.channels; c++) {
      if (!results[c].lost) continue;
      if (row < rescue.slots + (rescue.far ? rescue.farSlots : 0)) {
        rescue.rows[c] = row++;
      } else {
        *rescue.full = 1;
      }
    }
  }
#endif
}

/// z over x, and what the activation behind the layer makes of it.
extern "C" __global__ void __launch_bounds__(THREADS)
    generalApply(const T* x, T* z, T* outer, Rescue rescue, const ForwardNumbers* results, General g,
                 LayerNumbers numbers) {
  i64 step = (i64)gridDim.x * blockDim.x, all = g.count * g.channels;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step) {
#if LAST
    i64 c = i % g.channels;
#else
    i64 c = i / g.spatial % g.channels;
#endif
    const ForwardNumbers& n = results[c];
    T element = x[i];
#if RESCUE
    if (n.lost) {
#if LAST
      i64 k = i / g.channels;
#else
      i64 k = i / (g.spatial * g.channels) * g.spatial + i % g.spatial;
#endif
      i32 row = rescue.rows[c];
      // No room: nothing of the channel is overwritten, and the run ends with an error.
      if (row < 0) continue;
      rescueRow(rescue, row, g.count)[k] = element;
    }
#endif
    T stored = cast<T>(activate<ACT>(fused(n.shift, real(element) - n.mean, n.gain), n.slope));
    z[i] = stored;
#if OUTER
    outer[i] = cast<T>(activate<OUTER>(real(stored), (R)numbers.alpha));
#endif
  }
}

// Backward.

/// What is kept of element k of channel c: x aside, or what stands in the layer's tensor.
__device__ __forceinline__ R keptOf(
    const T* kept, const Rescue& rescue, i32 row, const General& g, i64 k, i64 place) {
#if RESCUE && !FROM_X
  if (row >= 0) return real(rescueRow(rescue, row, g.count)[k]);
#endif
  return real(kept[place]);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    generalSums(const T* kept, const T* dz, const R* scale, const R* bias, const R* slopes,
                const R* saved, Rescue rescue, f64* partials, General g, LayerNumbers numbers) {
  __shared__ f64 shared[THREADS];
  R alpha = (R)numbers.alpha;
  for (i64 number = blockIdx.x; number < turns(g); number += gridDim.x) {
    Turn t = turnOf(g, number);
    f64 sums[3] = {0, 0, 0};
    if (t.channel < g.channels) {
      ChannelState s = channelState(
          scale, bias, slopes, saved, rescue.rows, numbers.alpha, t.channel, g.channels);
      BackwardNumbers n = backwardNumbers(s);
      bool isInput = FROM_X || s.row >= 0;
      for (i64 k = t.lo + threadIdx.x / LANES; k < t.hi; k += ALONG) {
        i64 place = placeOf(g, k, t.channel);
        R value = keptOf(kept, rescue, s.row, g, k, place), y, dy, distance;
        if (isInput) {
          point<INPUT>(n, value, real(dz[place]), alpha, y, dy, distance);
        } else {
          point<CAREFUL>(n, value, real(dz[place]), alpha, y, dy, distance);
        }
        sums[0] += dy;
        sums[1] += (f64)dy * distance;
#if ACT == PRELU
        if (!(y > 0)) sums[2] += (f64)real(dz[place]) * y;
#endif
      }
    }
    blockSums(sums, shared);
    if (threadIdx.x < LANES && t.channel < g.channels)
      for (int i = 0; i < 3; i++) partials[(t.channel * g.parts + t.part) * 3 + i] = sums[i];
  }
}

/// From the sums to the gradients of the parameters and the factors of dx; one block.
extern "C" __global__ void __launch_bounds__(THREADS)
    generalBackward(const f64* partials, const R* scale, const R* bias, const R* slopes,
                    const R* saved, Rescue rescue, ParameterGradients gradients,
                    R* slopeGradient, BackwardNumbers* results, General g, LayerNumbers numbers) {
  for (i64 c = threadIdx.x; c < g.channels; c += THREADS) {
    ChannelState s =
        channelState(scale, bias, slopes, saved, rescue.rows, numbers.alpha, c, g.channels);
    BackwardNumbers n = backwardNumbers(s);
    int way = FROM_X || s.row >= 0 ? INPUT : CAREFUL;
    finishSums(n, s, way, sumOfParts(partials, g, c, 0), sumOfParts(partials, g, c, 1),
               (f64)g.count, gradients, c, true);
    results[c] = n;
  }
#if ACT == PRELU
  __shared__ f64 shares[THREADS];
  f64 share = 0;
  for (i64 c = threadIdx.x; c < g.channels; c += THREADS) share += sumOfParts(partials, g, c, 2);
  shares[threadIdx.x] = share;
  __syncthreads();
  for (u32 half = THREADS / 2; half; half /= 2) {
    if (threadIdx.x < half) shares[threadIdx.x] += shares[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) slopeGradient[0] = (R)shares[0];
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS)
    generalGradient(const T* kept, const T* dz, T* dx, Rescue rescue, const BackwardNumbers* results,
                    General g, LayerNumbers numbers) {
  i64 step = (i64)gridDim.x * blockDim.x, all = g.count * g.channels;
  R alpha = (R)numbers.alpha;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step) {
#if LAST
    i64 c = i % g.channels, k = i / g.channels;
#else
    i64 c = i / g.spatial % g.channels;
    i64 k = i / (g.spatial * g.channels) * g.spatial + i % g.spatial;
#endif
    i32 row = -1;
#if RESCUE && !FROM_X
    row = rescue.rows[c];
#endif
    BackwardNumbers n = results[c];
    R value = keptOf(kept, rescue, row, g, k, i), gradient = real(dz[i]);
    dx[i] = cast<T>(FROM_X || row >= 0 ? gradientOfX<INPUT>(n, value, gradient, alpha)
                                       : gradientOfX<CAREFUL>(n, value, gradient, alpha));
  }
}

/// x from z: xhat = (y - bias) / scale, x = mean + xhat * deviation; exactly, where x was set aside.
extern "C" __global__ void __launch_bounds__(THREADS)
    generalRestore(const T* z, T* x, const R* scale, const R* bias, const R* slopes, const R* saved,
                   Rescue rescue, General g, LayerNumbers numbers) {
  i64 step = (i64)gridDim.x * blockDim.x, all = g.count * g.channels;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < all; i += step) {
#if LAST
    i64 c = i % g.channels, k = i / g.channels;
#else
    i64 c = i / g.spatial % g.channels;
    i64 k = i / (g.spatial * g.channels) * g.spatial + i % g.spatial;
#endif
    ChannelState s =
        channelState(scale, bias, slopes, saved, rescue.rows, numbers.alpha, c, g.channels);
    if (s.row >= 0) {
      x[i] = rescueRow(rescue, s.row, g.count)[k];
      continue;
    }
    BackwardNumbers n = backwardNumbers(s);
    R kept = real(z[i]), y, d;
    invert(kept, n.slope, n.inverseSlope, y, d);
    R distance = kept == n.plain ? (R)0 : y - n.bias;
    // Of a variance that is lost against epsilon the inverse is large, and the quotient in range.
    x[i] = cast<T>(s.mean + (s.remainder + distance / (s.scale * s.inverse)));
  }
}
