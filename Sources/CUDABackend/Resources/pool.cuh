// Where the windows of a pooling are. Images are [planes][height][width][inner], where the inner
// dimension is counted in words of LANES elements: the channels where they stand beside one another,
// else 1. W is the type of the winners.

#ifdef WIDE
typedef i64 Place;
#else
typedef i32 Place;
#endif

struct PoolAxis {
  i64 input, output;
  i64 before, kernel;  // a kernel of 0: adaptive
  Divisor stride;
};

struct Pool {
  i64 count;  // words of what a launch writes
  Divisor inner, width, height;
  PoolAxis rows, columns;
  i64 isExclusive;
};

struct Span {
  Place first, end;
};

/// The inputs under window `o`, padding included.
__device__ __forceinline__ Span window(const PoolAxis& a, Place o) {
  Place input = (Place)a.input, output = (Place)a.output;
  if (a.kernel == 0) return {o * input / output, ((o + 1) * input + output - 1) / output};
  Place first = o * (Place)a.stride.number - (Place)a.before;
  return {first, first + (Place)a.kernel};
}

/// The windows over input `i`.
__device__ __forceinline__ Span windowsOver(const PoolAxis& a, Place i) {
  Place input = (Place)a.input, output = (Place)a.output;
  if (a.kernel == 0) return {i * output / input, ((i + 1) * output + input - 1) / input};
  Place at = i + (Place)a.before, kernel = (Place)a.kernel;
  Place first = at < kernel ? 0 : (Place)quotient((Index)(at - kernel), a.stride) + 1;
  Place end = (Place)quotient((Index)at, a.stride) + 1;
  return {first, end < output ? end : output};
}

/// What of a window is inside of the image.
__device__ __forceinline__ Span inside(const PoolAxis& a, Span s) {
  Place input = (Place)a.input;
  return {s.first < 0 ? 0 : s.first, s.end < input ? s.end : input};
}

/// The divisor of a window's sum.
__device__ __forceinline__ i64 divisor(const Pool& p, Span row, Span column) {
  if (p.isExclusive) {
    row = inside(p.rows, row);
    column = inside(p.columns, column);
  }
  i64 count = (i64)(row.end - row.first) * (column.end - column.first);
  return count > 0 ? count : 1;
}

/// LANES elements side by side.
template <typename E> struct __align__(sizeof(E) * LANES) Lanes {
  E of[LANES];
};
