// Copies words, whatever they mean, between two arrangements of one shape. W is u8, u16, u32, u64 or
// Chunk.

/// In the order of the target.
extern "C" __global__ void __launch_bounds__(256)
    copy(const W* source, W* target, i64 count, const Nest nest) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < count; n += (i64)gridDim.x * 256) {
    i64 from, to;
    offsets((Index)n, nest, from, to);
    target[to] = source[from];
  }
}

/// Where the source's neighbours are `rows` and the target's are `columns`: in tiles that pass
/// through shared memory, so that both sides are coalesced. The nest is that of the other axes.
extern "C" __global__ void __launch_bounds__(256)
    copyTurned(const W* source, W* target, i64 outer, i64 rows, i64 rowTo, i64 columns,
               i64 columnFrom, const Nest nest) {
  // One column more than a tile has, so that a column's words lie in different banks.
  __shared__ W tile[32][33];
  i64 across = (rows + 31) / 32, down = (columns + 31) / 32, tiles = outer * across * down;
  u32 x = threadIdx.x % 32, y = threadIdx.x / 32;
  for (i64 t = blockIdx.x; t < tiles; t += gridDim.x) {
    i64 place = t % (across * down), from, to;
    offsets((Index)(t / (across * down)), nest, from, to);
    i64 row0 = place % across * 32, column0 = place / across * 32;
    for (u32 i = y; i < 32; i += 8) {
      if (column0 + i < columns && row0 + x < rows)
        tile[i][x] = source[from + (column0 + i) * columnFrom + row0 + x];
    }
    __syncthreads();
    for (u32 i = y; i < 32; i += 8) {
      if (row0 + i < rows && column0 + x < columns)
        target[to + (row0 + i) * rowTo + column0 + x] = tile[x][i];
    }
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(256) fill(W* target, i64 count, const W value) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < count; n += (i64)gridDim.x * 256)
    target[n] = value;
}
