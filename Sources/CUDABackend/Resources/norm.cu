// Sums of squares in float64, in an order that hangs on the number of elements alone. T: the element
// type of `squares`.

/// The sum over the 256 threads of a block, for thread 0.
__device__ __forceinline__ f64 blockSum(f64 own) {
  __shared__ f64 sums[256];
  sums[threadIdx.x] = own;
  __syncthreads();
  for (u32 half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  return sums[0];
}

/// One number for each part of `grain` elements; a block a part.
extern "C" __global__ void __launch_bounds__(256)
    squares(const T* x, f64* parts, i64 count, i64 grain) {
  const i64 first = (i64)blockIdx.x * grain;
  const i64 end = first + grain < count ? first + grain : count;
  constexpr int V = VEC<T>;
  const bool isAligned = ((u64)(x + first) & 15) == 0;
  // Two sums a thread, so that additions need not wait for one another.
  f64 sums[2] = {0.0, 0.0};
  i64 i = first + (i64)threadIdx.x * V;
  for (; i + V <= end; i += 256 * V) {
    Real<T> v[V];
    if (isAligned) {
      unpack<T>(*reinterpret_cast<const Chunk*>(x + i), v);
    } else {
#pragma unroll
      for (int k = 0; k < V; k++) v[k] = real(x[i + k]);
    }
#pragma unroll
    for (int k = 0; k < V; k++) sums[k % 2] = fma((f64)v[k], (f64)v[k], sums[k % 2]);
  }
  for (; i < end; i++) sums[0] = fma((f64)real(x[i]), (f64)real(x[i]), sums[0]);
  const f64 sum = blockSum(sums[0] + sums[1]);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/// The sum of some numbers, by one block.
extern "C" __global__ void __launch_bounds__(256) total(const f64* parts, f64* out, i64 count) {
  f64 own = 0.0;
  for (i64 i = threadIdx.x; i < count; i += 256) own += parts[i];
  const f64 sum = blockSum(own);
  if (threadIdx.x == 0) *out = sum;
}
