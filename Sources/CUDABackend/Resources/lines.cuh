// Lines along one axis of a row-major tensor: the elements of a line are `inner` apart. A block works
// on 256 / parts lines at a time, each with `parts` threads.
struct Lines {
  i64 count, length, inner;
  u32 parts;     // a power of two
  u32 isAcross;  // whether neighbouring threads have neighbouring lines
};

/// What a thread does: `part` of line `lane` among those of its block.
struct Seat {
  u32 lane, lanes, part, parts;
  u32 step;  // between threads of neighbouring parts

  __device__ __forceinline__ Seat(const Lines& lines) {
    parts = lines.parts;
    lanes = 256 / parts;
    step = lines.isAcross ? lanes : 1;
    lane = lines.isAcross ? threadIdx.x % lanes : threadIdx.x / parts;
    part = lines.isAcross ? threadIdx.x / lanes : threadIdx.x % parts;
  }
};

/// The first element of a line.
__device__ __forceinline__ i64 start(const Lines& lines, i64 line) {
  i64 outer = line / lines.inner;
  return outer * lines.length * lines.inner + (line - outer * lines.inner);
}

struct Add {
  template <typename V> __device__ __forceinline__ V operator()(V a, V b) const { return a + b; }
};
struct Larger {
  template <typename V> __device__ __forceinline__ V operator()(V a, V b) const {
    return b > a ? b : a;
  }
};
struct Smaller {
  template <typename V> __device__ __forceinline__ V operator()(V a, V b) const {
    return b < a ? b : a;
  }
};

/// What the threads of a line have, combined in pairs; all threads of the block call it, and what
/// they stored or loaded before it comes before what they do behind it.
template <typename V, typename Combine>
__device__ __forceinline__ V combined(const Seat& seat, V own, V* room, Combine combine) {
  __syncthreads();
  room[threadIdx.x] = own;
  for (u32 half = seat.parts / 2; half > 0; half /= 2) {
    __syncthreads();
    if (seat.part < half)
      room[threadIdx.x] = combine(room[threadIdx.x], room[threadIdx.x + half * seat.step]);
  }
  __syncthreads();
  return room[threadIdx.x - seat.part * seat.step];
}

__device__ __forceinline__ f32 exponential(f32 x) { return expf(x); }
__device__ __forceinline__ f64 exponential(f64 x) { return exp(x); }
__device__ __forceinline__ f32 logarithm(f32 x) { return logf(x); }
__device__ __forceinline__ f64 logarithm(f64 x) { return log(x); }
__device__ __forceinline__ f32 logarithmOfOnePlus(f32 x) { return log1pf(x); }
__device__ __forceinline__ f64 logarithmOfOnePlus(f64 x) { return log1p(x); }
__device__ __forceinline__ f32 infinity(f32) { return __uint_as_float(0x7f800000u); }
__device__ __forceinline__ f64 infinity(f64) { return (f64)__uint_as_float(0x7f800000u); }
