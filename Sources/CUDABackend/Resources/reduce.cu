// Sums over some axes of a tensor, in f64: rounding errors do not grow with the count, partial sums
// do not overflow. Their order depends on the shape alone. T is the input's type, O the output's.
// -DALONG: the summed elements stand side by side, and are read in chunks. -DACROSS: the outputs'
// elements do.

struct Sums {
  i64 outputs;  // in words: elements, or chunks of them with ACROSS
  i64 count;    // words to add for each
  i64 piece;    // how many of them a block adds
  u32 pieces;   // blocks that share the sums of an output
  u32 parts;    // threads that share them in a block: a power of two
  u32 isAcross; // whether neighbouring threads make neighbouring outputs
  u32 unused;
  f64 factor;
  Nest kept;    // first: strides of the input
  Nest summed;
};

#if defined(ALONG) || defined(ACROSS)
typedef Chunk Word;
#define LANES VEC<T>
#else
typedef T Word;
#define LANES 1
#endif
#ifdef ACROSS
#define SUMS LANES
#else
#define SUMS 1
#endif

__device__ __forceinline__ void add(f64 (&total)[SUMS], const Word& word) {
#if defined(ALONG) || defined(ACROSS)
  Real<T> values[LANES];
  unpack<T>(word, values);
#pragma unroll
  for (int i = 0; i < LANES; i++) total[SUMS == 1 ? 0 : i] += (f64)values[i];
#else
  total[0] += (f64)real(word);
#endif
}

extern "C" __global__ void __launch_bounds__(256)
    sum(const Word* x, O* out, const Sums s) {
  __shared__ f64 room[SUMS][256];
  u32 lanes = 256 / s.parts, step = s.isAcross ? lanes : 1;
  u32 lane = s.isAcross ? threadIdx.x % lanes : threadIdx.x / s.parts;
  u32 part = s.isAcross ? threadIdx.x / lanes : threadIdx.x % s.parts;
  i64 tiles = (s.outputs + lanes - 1) / lanes;
  for (i64 block = blockIdx.x; block < tiles * s.pieces; block += gridDim.x) {
    i64 output = block / s.pieces * lanes + lane, piece = block % s.pieces;
    f64 total[SUMS];
#pragma unroll
    for (int i = 0; i < SUMS; i++) total[i] = 0;
    if (output < s.outputs) {
      i64 start, none;
      offsets((Index)output, s.kept, start, none);
      i64 end = (piece + 1) * s.piece < s.count ? (piece + 1) * s.piece : s.count;
      if (s.summed.rank == 1) {
        i64 stride = s.summed.first[0];
#pragma unroll 4
        for (i64 i = piece * s.piece + part; i < end; i += s.parts) add(total, x[start + i * stride]);
      } else {
#pragma unroll 4
        for (i64 i = piece * s.piece + part; i < end; i += s.parts) {
          i64 at;
          offsets((Index)i, s.summed, at, none);
          add(total, x[start + at]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < SUMS; i++) room[i][threadIdx.x] = total[i];
    for (u32 half = s.parts / 2; half > 0; half /= 2) {
      __syncthreads();
      if (part < half) {
#pragma unroll
        for (int i = 0; i < SUMS; i++)
          room[i][threadIdx.x] += room[i][threadIdx.x + half * step];
      }
    }
    if (part == 0 && output < s.outputs) {
      O* target = out + (piece * s.outputs + output) * SUMS;
#pragma unroll
      for (int i = 0; i < SUMS; i++) target[i] = cast<O>(room[i][threadIdx.x] * s.factor);
    }
    __syncthreads();
  }
}
