// out = x * mask, the mask drawn by Philox 4x32 with 10 rounds: the numbers of CounterRandom, each at
// the element where the processor has it. T: the element type.

/// The four words of a block of random numbers.
__device__ __forceinline__ void randomWords(u64 seed, u64 stream, u64 block, u32 (&c)[4]) {
  c[0] = (u32)block;
  c[1] = (u32)(block >> 32);
  c[2] = (u32)stream;
  c[3] = (u32)(stream >> 32);
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    u64 p0 = (u64)c[0] * 0xD2511F53u, p1 = (u64)c[2] * 0xCD9E8D57u;
    c[0] = (u32)(p1 >> 32) ^ c[1] ^ k0;
    c[1] = (u32)p1;
    c[2] = (u32)(p0 >> 32) ^ c[3] ^ k1;
    c[3] = (u32)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// Draw n takes the blocks from n * 2^32 on, 64 blocks for 256 elements: word w of block b is for
/// element 64 w + b of them. Words below `threshold` drop their element.
extern "C" __global__ void __launch_bounds__(256)
    dropout(const T* x, T* out, const i64* drawn, i64 count, u64 seed, u64 stream, u64 threshold,
            f64 factor) {
  const u64 base = (u64)*drawn << 32;
  const i64 blocks = (count + 255) / 256 * 64;
  const Real<T> kept = (Real<T>)factor;
  for (i64 b = (i64)blockIdx.x * 256 + threadIdx.x; b < blocks; b += (i64)gridDim.x * 256) {
    const i64 start = b / 64 * 256 + b % 64;
    T element[4];
#pragma unroll
    for (int w = 0; w < 4; w++) element[w] = start + 64 * w < count ? x[start + 64 * w] : T();
    u32 words[4];
    randomWords(seed, stream, base + (u64)b, words);
#pragma unroll
    for (int w = 0; w < 4; w++) {
      if (start + 64 * w >= count) continue;
      out[start + 64 * w] =
          cast<T>((u64)words[w] >= threshold ? real(element[w]) * kept : Real<T>(0));
    }
  }
}
