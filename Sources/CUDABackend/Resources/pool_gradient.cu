// Gradients of pooling. A thread makes a word of dx and adds what the windows over it give, by rows
// and columns: the order is always the same.

#if defined(MAX) && defined(ALONG)
/// Images of one channel whose lines are whole chunks: a thread makes VEC<T> neighbours of a line, and
/// looks at each window over any of them once. LANES is 1.
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
