// Fills `count` elements with numbers in -0.5 ..< 0.5 that hang on their place alone.
extern "C" __global__ void __launch_bounds__(256) fillRandom(T* target, i64 count, u32 seed) {
  i64 step = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    // The finalizer of MurmurHash3, over the place and the seed.
    u64 h = (u64)i * 0x9e3779b97f4a7c15ull + seed;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
    h ^= h >> 33;
    target[i] = cast<T>((f32)(u32)(h >> 40) * (1.0f / 16777216.0f) - 0.5f);
  }
}
