// Images of another size: [planes][height][width][inner], the inner dimension in words of LANES
// elements, as in pool.cuh.

/// What a place of the output is made of along one axis: `below`, and a share of the one behind it.
struct Place {
  i32 below, unused;
  f64 share;
};
/// The places of the output that an input has a share in: first ..< end.
struct Range {
  i32 first, end;
};

struct ResizeAxis {
  i64 from, to;
  u32 isNearest, alignCorners, isHalfPixel, unused;
};

__device__ __forceinline__ Place placeOf(const ResizeAxis& a, i64 k) {
  i64 numerator = a.alignCorners ? (a.to == 1 ? 0 : k * (a.from - 1)) : k * a.from;
  i64 denominator = a.alignCorners ? (a.to > 1 ? a.to - 1 : 1) : a.to;
  if (a.isNearest) {
    i64 at = a.alignCorners ? (2 * numerator + denominator) / (2 * denominator)
                            : numerator / denominator;
    return {(i32)(at < a.from - 1 ? at : a.from - 1), 0, 0.0};
  }
  if (!a.alignCorners && a.isHalfPixel) {
    numerator = (2 * k + 1) * a.from - a.to;
    if (numerator < 0) numerator = 0;
    denominator = 2 * a.to;
  }
  i64 below = numerator / denominator, rest = numerator - below * denominator;
  if (rest == 0 || below + 1 >= a.from)
    return {(i32)(below < a.from - 1 ? below : a.from - 1), 0, 0.0};
  return {(i32)below, 0, (f64)rest / (f64)denominator};
}

/// The first place that is made of `i` or of one behind it.
__device__ __forceinline__ i64 firstFrom(const ResizeAxis& a, i64 i) {
  i64 low = 0, high = a.to;
  while (low < high) {
    i64 middle = (low + high) / 2;
    if (placeOf(a, middle).below >= i) high = middle;
    else low = middle + 1;
  }
  return low;
}

#ifdef TABLES
/// The places of the output's rows, then of its columns; the ranges of the input's alike, if asked for.
extern "C" __global__ void __launch_bounds__(256)
    resizeTables(Place* places, Range* ranges, const ResizeAxis rows, const ResizeAxis columns) {
  i64 thread = (i64)blockIdx.x * 256 + threadIdx.x, step = (i64)gridDim.x * 256;
  for (i64 k = thread; k < rows.to + columns.to; k += step)
    places[k] = k < rows.to ? placeOf(rows, k) : placeOf(columns, k - rows.to);
  if (!ranges) return;
  for (i64 k = thread; k < rows.from + columns.from; k += step) {
    const ResizeAxis& a = k < rows.from ? rows : columns;
    i64 i = k < rows.from ? k : k - rows.from;
    ranges[k] = {(i32)firstFrom(a, i - 1), (i32)firstFrom(a, i + 1)};
  }
}
#else

template <typename E> struct __align__(sizeof(E) * LANES) Lanes {
  E of[LANES];
};

struct Resize {
  i64 count;  // words of what a launch writes
  Divisor inner, width, height;
  i64 otherHeight, otherWidth;  // of what it reads
};

template <typename A>
__device__ __forceinline__ void add(A (&sums)[LANES], const Lanes<T>& word, f64 weight) {
#pragma unroll
  for (int l = 0; l < LANES; l++) sums[l] += (A)weight * (A)real(word.of[l]);
}

#ifdef GRADIENT
/// sums = what the output's gradients around (i, j) give, by rows and columns.
template <typename A>
__device__ __forceinline__ void collect(
    A (&sums)[LANES], const Lanes<T>* image, i64 i, i64 j, i64 inner, const Resize& r,
    const Place* places, const Range* ranges) {
  Range rows = ranges[i], columns = ranges[r.height.number + j];
  const Place* across = places + r.otherHeight;
  for (i32 h = rows.first; h < rows.end; h++) {
    Place row = places[h];
    f64 down = row.below == i ? 1 - row.share : row.share;
    if (down == 0) continue;
    for (i32 w = columns.first; w < columns.end; w++) {
      Place column = across[w];
      f64 weight = column.below == j ? 1 - column.share : column.share;
      if (weight != 0) add(sums, image[((i64)h * r.otherWidth + w) * inner], down * weight);
    }
  }
}
#else
/// sums = the weighted sum of up to four inputs.
template <typename A>
__device__ __forceinline__ void collect(
    A (&sums)[LANES], const Lanes<T>* image, i64 i, i64 j, i64 inner, const Resize& r,
    const Place* places, const Range*) {
  Place row = places[i], column = places[r.height.number + j];
  for (i32 h = 0; h < (row.share > 0 ? 2 : 1); h++) {
    f64 down = h ? row.share : 1 - row.share;
    const Lanes<T>* line = image + ((i64)(row.below + h) * r.otherWidth + column.below) * inner;
    add(sums, line[0], down * (1 - column.share));
    if (column.share > 0) add(sums, line[inner], down * column.share);
  }
}
#endif

extern "C" __global__ void __launch_bounds__(256)
    resize(const Lanes<T>* x, Lanes<T>* y, const Place* places, const Range* ranges, const Resize r) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < r.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, r.inner);
    i64 j = takeRemainder(plane, r.width), i = takeRemainder(plane, r.height);
    i64 inner = (i64)r.inner.number;
    const Lanes<T>* image = x + (i64)plane * r.otherHeight * r.otherWidth * inner + channel;
    Real<T> sums[LANES];
#pragma unroll
    for (int l = 0; l < LANES; l++) sums[l] = 0;
    collect(sums, image, i, j, inner, r, places, ranges);
    Lanes<T> result;
    bool isFinite = true;
#pragma unroll
    for (int l = 0; l < LANES; l++) {
      result.of[l] = cast<T>(sums[l]);
      isFinite = isFinite && real(result.of[l]) - real(result.of[l]) == 0;
    }
    // Weights are rounded: their sum may be above 1, and the largest number become infinite.
    if (!isFinite) {
      f64 exact[LANES];
#pragma unroll
      for (int l = 0; l < LANES; l++) exact[l] = 0;
      collect(exact, image, i, j, inner, r, places, ranges);
#pragma unroll
      for (int l = 0; l < LANES; l++) result.of[l] = cast<T>(exact[l]);
    }
    y[n] = result;
  }
}
#endif
