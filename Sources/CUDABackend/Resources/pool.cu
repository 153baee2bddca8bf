// The largest or the average element under each window; a thread makes a word of the output.

#if defined(MAX) && defined(KROWS)
/// Windows of KROWS x KCOLUMNS: all of their words are on their way before the first is looked at.
/// A place beyond the image counts as the nearest one inside, which changes neither the largest
/// element nor which is the first of those.
extern "C" __global__ void __launch_bounds__(256)
    poolMax(const Lanes<T>* x, Lanes<T>* y, Lanes<W>* winners, const Pool p) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, p.inner);
    Span column = window(p.columns, (Place)takeRemainder(plane, p.width));
    Span row = window(p.rows, (Place)takeRemainder(plane, p.height));
    Span rows = inside(p.rows, row), columns = inside(p.columns, column);
    i64 inner = (i64)p.inner.number;
    const Lanes<T>* image = x + (i64)plane * p.rows.input * p.columns.input * inner + channel;
    Place down[KROWS], across[KCOLUMNS];
    Lanes<T> words[KROWS * KCOLUMNS];
    Place own[KROWS * KCOLUMNS];
#pragma unroll
    for (int i = 0; i < KROWS; i++) {
      Place at = row.first + i;
      down[i] = at < rows.first ? rows.first : at < rows.end ? at : rows.end - 1;
    }
#pragma unroll
    for (int j = 0; j < KCOLUMNS; j++) {
      Place at = column.first + j;
      across[j] = at < columns.first ? columns.first : at < columns.end ? at : columns.end - 1;
    }
#pragma unroll
    for (int i = 0; i < KROWS; i++)
#pragma unroll
      for (int j = 0; j < KCOLUMNS; j++) {
        words[i * KCOLUMNS + j] = image[((i64)down[i] * p.columns.input + across[j]) * inner];
        own[i * KCOLUMNS + j] =
            (down[i] - row.first) * KCOLUMNS + across[j] - column.first;
      }
    Lanes<T> result;
    Lanes<W> places;
#pragma unroll
    for (int l = 0; l < LANES; l++) {
      Real<T> best = real(words[0].of[l]);
      Place winner = own[0];
#pragma unroll
      for (int k = 1; k < KROWS * KCOLUMNS; k++) {
        Real<T> value = real(words[k].of[l]);
        // A NaN wins and stays.
        if (!(value <= best) && best == best) {
          best = value;
          winner = own[k];
        }
      }
      result.of[l] = cast<T>(best);
      places.of[l] = (W)winner;
    }
    y[n] = result;
    winners[n] = places;
  }
}
#elif defined(MAX)
extern "C" __global__ void __launch_bounds__(256)
    poolMax(const Lanes<T>* x, Lanes<T>* y, Lanes<W>* winners, const Pool p) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, p.inner);
    Span column = window(p.columns, (Place)takeRemainder(plane, p.width));
    Span row = window(p.rows, (Place)takeRemainder(plane, p.height));
    Span rows = inside(p.rows, row), columns = inside(p.columns, column);
    Place across = column.end - column.first;
    i64 inner = (i64)p.inner.number;
    const Lanes<T>* image = x + (i64)plane * p.rows.input * p.columns.input * inner + channel;
    Real<T> best[LANES];
    Place winner[LANES];
#pragma unroll
    for (int l = 0; l < LANES; l++) winner[l] = -1;
    for (Place i = rows.first; i < rows.end; i++) {
      const Lanes<T>* line = image + (i64)i * p.columns.input * inner;
      Place place = (i - row.first) * across - column.first;
      for (Place j = columns.first; j < columns.end; j++) {
        Lanes<T> word = line[(i64)j * inner];
#pragma unroll
        for (int l = 0; l < LANES; l++) {
          Real<T> value = real(word.of[l]);
          // A NaN wins and stays.
          if (winner[l] < 0 || value > best[l] || (value != value && best[l] == best[l])) {
            best[l] = value;
            winner[l] = place + j;
          }
        }
      }
    }
    Lanes<T> result;
    Lanes<W> places;
#pragma unroll
    for (int l = 0; l < LANES; l++) {
      result.of[l] = cast<T>(best[l]);
      places.of[l] = (W)winner[l];
    }
    y[n] = result;
    winners[n] = places;
  }
}
#else
/// The sums are f64's: those of finite elements are finite.
extern "C" __global__ void __launch_bounds__(256)
    poolAverage(const Lanes<T>* x, Lanes<T>* y, const Pool p) {
  for (i64 n = (i64)blockIdx.x * 256 + threadIdx.x; n < p.count; n += (i64)gridDim.x * 256) {
    Index plane = (Index)n, channel = takeRemainder(plane, p.inner);
    Span column = window(p.columns, (Place)takeRemainder(plane, p.width));
    Span row = window(p.rows, (Place)takeRemainder(plane, p.height));
    Span rows = inside(p.rows, row), columns = inside(p.columns, column);
    i64 inner = (i64)p.inner.number;
    const Lanes<T>* image = x + (i64)plane * p.rows.input * p.columns.input * inner + channel;
    f64 sums[LANES];
#pragma unroll
    for (int l = 0; l < LANES; l++) sums[l] = 0;
    for (Place i = rows.first; i < rows.end; i++) {
      const Lanes<T>* line = image + (i64)i * p.columns.input * inner;
      for (Place j = columns.first; j < columns.end; j++) {
        Lanes<T> word = line[(i64)j * inner];
#pragma unroll
        for (int l = 0; l < LANES; l++) sums[l] += (f64)real(word.of[l]);
      }
    }
    f64 count = (f64)divisor(p, row, column);
    Lanes<T> result;
#pragma unroll
    for (int l = 0; l < LANES; l++) result.of[l] = cast<T>(sums[l] / count);
    y[n] = result;
  }
}
#endif
