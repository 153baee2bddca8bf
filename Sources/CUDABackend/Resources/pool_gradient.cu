// Gradients of pooling. A thread makes a word of dx and adds what the windows over it give, by rows
// and columns: the order is always the same.

#if defined(MAX) && defined(ALONG)
/// Images of one channel whose lines are whole chunks: a thread makes VEC<T> neighbours of a line,
/// and looks at each window over any of them once. LANES is 1.
extern "C" __global__ void __launch_bounds__(256)
    poolMaxGradient(const T* dy, Chunk* dx, const W* winners, const Pool p) {
  constexpr int LINE = VEC<T>;
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n;
    Place j = (Place)takeRemainder(plane, p.width) * LINE;
    Place i = (Place)takeRemainder(plane, p.height);
    Span rows = windowsOver(p.rows, i);
    Span columns = {windowsOver(p.columns, j).first, windowsOver(p.columns, j + LINE - 1).end};
    i64 image = (i64)plane * p.rows.output * p.columns.output;
    Real<T> sums[LINE];
#pragma unroll
    for (int l = 0; l < LINE; l++) sums[l] = 0;
    for (Place h = rows.first; h < rows.end; h++) {
      i64 line = image + (i64)h * p.columns.output;
      Place above = i - window(p.rows, h).first;
      for (Place w = columns.first; w < columns.end; w++) {
        Span column = window(p.columns, w);
        Place across = column.end - column.first;
        // The winner's place in the window's own row `above`, if it is there.
        Place place = (Place)winners[line + w] - above * across;
        if (place < 0 || place >= across) continue;
        Place own = place + column.first - j;
        Real<T> slope = real(dy[line + w]);
#pragma unroll
        for (int l = 0; l < LINE; l++)
          if (own == l) sums[l] += slope;
      }
    }
    dx[n] = pack<T>(sums);
  }
}
#elif defined(MAX) && defined(KROWS)
/// Windows of KROWS x KCOLUMNS every SROWS x SCOLUMNS places, the first of them BROWS and BCOLUMNS
/// before the image: a thread makes SROWS x SCOLUMNS words of dx, over which the same windows lie.
/// Which element of which window each word is, is known when this is compiled.
__device__ constexpr int floorOf(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
// The first and the last window over the words of a thread, seen from its number.
constexpr int ROW0 = floorOf(BROWS - KROWS, SROWS) + 1, ROW1 = floorOf(SROWS - 1 + BROWS, SROWS);
constexpr int COLUMN0 = floorOf(BCOLUMNS - KCOLUMNS, SCOLUMNS) + 1;
constexpr int COLUMN1 = floorOf(SCOLUMNS - 1 + BCOLUMNS, SCOLUMNS);
constexpr int DOWN = ROW1 - ROW0 + 1, ACROSS = COLUMN1 - COLUMN0 + 1;

extern "C" __global__ void __launch_bounds__(256)
    poolMaxGradient(const Lanes<T>* dy, Lanes<T>* dx, const Lanes<W>* winners, const Pool p) {
  const i64 inner = (i64)p.inner.number;
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, p.inner);
    const i64 j = takeRemainder(plane, p.width), i = takeRemainder(plane, p.height);
    const i64 image = (i64)plane * p.rows.output * p.columns.output * inner + channel;
    Lanes<W> places[DOWN][ACROSS];
    Lanes<T> slopes[DOWN][ACROSS];
#pragma unroll
    for (int h = 0; h < DOWN; h++)
#pragma unroll
      for (int w = 0; w < ACROSS; w++) {
        const i64 row = i + ROW0 + h, column = j + COLUMN0 + w;
        const bool isThere =
            row >= 0 && row < p.rows.output && column >= 0 && column < p.columns.output;
        // Beyond the image: a winner that is no place of a window.
        if (isThere) {
          const i64 at = image + (row * p.columns.output + column) * inner;
          places[h][w] = winners[at];
          slopes[h][w] = dy[at];
        } else {
#pragma unroll
          for (int l = 0; l < LANES; l++) {
            places[h][w].of[l] = (W)(KROWS * KCOLUMNS);
            slopes[h][w].of[l] = T();
          }
        }
      }
    Lanes<T>* target = dx + (i64)plane * p.rows.input * p.columns.input * inner + channel;
#pragma unroll
    for (int r = 0; r < SROWS; r++)
#pragma unroll
      for (int s = 0; s < SCOLUMNS; s++) {
        Lanes<T> result;
#pragma unroll
        for (int l = 0; l < LANES; l++) {
          Real<T> sum = 0;
#pragma unroll
          for (int k = 0; k < DOWN * ACROSS; k++) {
            const int h = k / ACROSS, w = k % ACROSS;
            const int above = r + BROWS - (ROW0 + h) * SROWS;
            const int left = s + BCOLUMNS - (COLUMN0 + w) * SCOLUMNS;
            if (above < 0 || above >= KROWS || left < 0 || left >= KCOLUMNS) continue;
            const bool isWinner = (Place)places[h][w].of[l] == above * KCOLUMNS + left;
            if (isWinner) sum += real(slopes[h][w].of[l]);
          }
          result.of[l] = cast<T>(sum);
        }
        const i64 row = i * SROWS + r, column = j * SCOLUMNS + s;
        if (row < p.rows.input && column < p.columns.input)
          target[(row * p.columns.input + column) * inner] = result;
      }
  }
}
#elif defined(MAX)
extern "C" __global__ void __launch_bounds__(256)
    poolMaxGradient(const Lanes<T>* dy, Lanes<T>* dx, const Lanes<W>* winners, const Pool p) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, p.inner);
    Place j = (Place)takeRemainder(plane, p.width), i = (Place)takeRemainder(plane, p.height);
    Span rows = windowsOver(p.rows, i), columns = windowsOver(p.columns, j);
    i64 inner = (i64)p.inner.number;
    i64 image = (i64)plane * p.rows.output * p.columns.output * inner + channel;
    Real<T> sums[LANES];
#pragma unroll
    for (int l = 0; l < LANES; l++) sums[l] = 0;
    for (Place h = rows.first; h < rows.end; h++) {
      i64 line = image + (i64)h * p.columns.output * inner;
      Place above = i - window(p.rows, h).first;
      for (Place w = columns.first; w < columns.end; w++) {
        Span column = window(p.columns, w);
        Place own = above * (column.end - column.first) + j - column.first;
        i64 at = line + (i64)w * inner;
        Lanes<W> places = winners[at];
        Lanes<T> slopes = dy[at];
#pragma unroll
        for (int l = 0; l < LANES; l++)
          if ((Place)places.of[l] == own) sums[l] += real(slopes.of[l]);
      }
    }
    Lanes<T> result;
#pragma unroll
    for (int l = 0; l < LANES; l++) result.of[l] = cast<T>(sums[l]);
    dx[n] = result;
  }
}
#else
extern "C" __global__ void __launch_bounds__(256)
    poolAverageGradient(const Lanes<T>* dy, Lanes<T>* dx, const Pool p) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, p.inner);
    Place j = (Place)takeRemainder(plane, p.width), i = (Place)takeRemainder(plane, p.height);
    Span rows = windowsOver(p.rows, i), columns = windowsOver(p.columns, j);
    i64 inner = (i64)p.inner.number;
    i64 image = (i64)plane * p.rows.output * p.columns.output * inner + channel;
    Real<T> sums[LANES];
#pragma unroll
    for (int l = 0; l < LANES; l++) sums[l] = 0;
    for (Place h = rows.first; h < rows.end; h++) {
      i64 line = image + (i64)h * p.columns.output * inner;
      Span row = window(p.rows, h);
      for (Place w = columns.first; w < columns.end; w++) {
        Real<T> count = (Real<T>)divisor(p, row, window(p.columns, w));
        Lanes<T> slopes = dy[line + (i64)w * inner];
#pragma unroll
        for (int l = 0; l < LANES; l++) sums[l] += real(slopes.of[l]) / count;
      }
    }
    Lanes<T> result;
#pragma unroll
    for (int l = 0; l < LANES; l++) result.of[l] = cast<T>(sums[l]);
    dx[n] = result;
  }
}
#endif
