// Gradients of sums.

/// The product, rounded once: 16-bit elements have few digits enough for f32.
__device__ __forceinline__ T product(T x, f64 factor) {
  return sizeof(T) == 2 ? cast<T>((f32)real(x) * (f32)factor) : cast<T>((f64)real(x) * factor);
}

/// dx = factor * dy, each element of dy at many places of dx: the nest walks dx (its second operand),
/// with stride 0 in dy along the axes that dy does not have. LANES elements a thread: 1, or a chunk.
extern "C" __global__ void __launch_bounds__(256)
    spread(const T* dy, T* dx, i64 count, f64 factor, const Nest nest) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < count; n += (i64)gridDim.x * 256) {
    T values[LANES];
#pragma unroll
    for (int i = 0; i < LANES; i++) {
      i64 from, to;
      offsets((Index)(n * LANES + i), nest, from, to);
      values[i] = product(dy[from], factor);
    }
#if LANES == 1
    dx[n] = values[0];
#else
    struct __align__(16) Elements { T of[LANES]; };
    Elements all;
#pragma unroll
    for (int i = 0; i < LANES; i++) all.of[i] = values[i];
    reinterpret_cast<Elements*>(dx)[n] = all;
#endif
  }
}
