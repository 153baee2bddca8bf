// Transposes `batch` matrices of rows x columns elements of T, in tiles of 32 x 32 that pass through
// shared memory, so that reads and writes of device memory are both coalesced. 256 threads.
extern "C" __global__ void __launch_bounds__(256)
    transpose(const T* source, T* target, i64 batch, i64 rows, i64 columns) {
  // One column more than a tile has, so that a column's elements lie in different banks.
  __shared__ T tile[32][33];
  i64 across = (columns + 31) / 32, down = (rows + 31) / 32, tiles = batch * across * down;
  u32 x = threadIdx.x % 32, y = threadIdx.x / 32;
  for (i64 t = blockIdx.x; t < tiles; t += gridDim.x) {
    i64 image = t / (across * down), place = t % (across * down);
    i64 row0 = place / across * 32, column0 = place % across * 32, start = image * rows * columns;
    for (u32 i = y; i < 32; i += 8) {
      i64 row = row0 + i, column = column0 + x;
      if (row < rows && column < columns) tile[i][x] = source[start + row * columns + column];
    }
    __syncthreads();
    for (u32 i = y; i < 32; i += 8) {
      i64 row = column0 + i, column = row0 + x;
      if (row < columns && column < rows) target[start + row * rows + column] = tile[x][i];
    }
    __syncthreads();
  }
}
