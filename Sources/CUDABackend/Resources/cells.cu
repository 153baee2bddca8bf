// Images of few channels as cells of BLOCK x BLOCK places whose channels stand beside one another,
// in CHUNKS chunks of 16 bytes: channel (dy * BLOCK + dx) * CHANNELS + c of cell (i, j) is channel
// c of place (i * BLOCK + dy - shift, j * BLOCK + dx - shift), and 0 beyond the image and behind
// the last one.

struct Cells {
  i64 count;  // what threads number: cells one way, elements of the image the other
  Divisor columns, rows, channels;  // of those
  i64 sizes[2], cells[2], shift[2];
};

/// A thread makes a cell: which element goes where in it is known when this is compiled.
extern "C" __global__ void __launch_bounds__(256)
    toCells(const T* source, Chunk* target, const Cells p) {
  const i64 plane = p.sizes[0] * p.sizes[1];
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index image = (Index)n;
    const i64 column = (i64)takeRemainder(image, p.columns) * BLOCK - p.shift[1];
    const i64 row = (i64)takeRemainder(image, p.rows) * BLOCK - p.shift[0];
    const T* from = source + (i64)image * CHANNELS * plane + row * p.sizes[1] + column;
    union {
      Chunk chunks[CHUNKS];
      T values[CHUNKS * VEC<T>];
    } cell;
#pragma unroll
    for (int own = 0; own < CHUNKS * VEC<T>; own++) {
      const int c = own % CHANNELS, dy = own / CHANNELS / BLOCK, dx = own / CHANNELS % BLOCK;
      const bool isThere = dy < BLOCK && row + dy >= 0 && row + dy < p.sizes[0] &&
                           column + dx >= 0 && column + dx < p.sizes[1];
      cell.values[own] = isThere ? from[c * plane + dy * p.sizes[1] + dx] : cast<T>((Real<T>)0);
    }
#pragma unroll
    for (int k = 0; k < CHUNKS; k++) target[n * CHUNKS + k] = cell.chunks[k];
  }
}

extern "C" __global__ void __launch_bounds__(256)
    fromCells(const T* source, T* target, const Cells p) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index image = (Index)n;
    const i64 column = (i64)takeRemainder(image, p.columns) + p.shift[1];
    const i64 row = (i64)takeRemainder(image, p.rows) + p.shift[0];
    const i64 c = (i64)takeRemainder(image, p.channels);
    const i64 d = row % BLOCK * BLOCK + column % BLOCK;
    const i64 cell = ((i64)image * p.cells[0] + row / BLOCK) * p.cells[1] + column / BLOCK;
    target[n] = source[cell * CHUNKS * VEC<T> + d * CHANNELS + c];
  }
}
