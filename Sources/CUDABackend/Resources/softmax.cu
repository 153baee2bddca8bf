// y may be x, and dx may be y or dy: an element is written by the thread that read it, behind all
// that other threads read of its line.

#ifndef GRADIENT
/// y = exp(x - top) / sum(exp(x - top)) along each line; NaN turns up in the sum.
extern "C" __global__ void __launch_bounds__(256) softmax(const T* x, T* y, const Lines lines) {
  __shared__ f64 room[256];
  Seat seat(lines);
  for (i64 first = (i64)blockIdx.x * seat.lanes; first < lines.count;
       first += (i64)gridDim.x * seat.lanes) {
    i64 line = first + seat.lane;
    // A line that is not there is empty.
    i64 length = line < lines.count ? lines.length : 0, at = start(lines, line);
    Real<T> top = -infinity(Real<T>());
    for (i64 c = seat.part; c < length; c += seat.parts) {
      Real<T> value = real(x[at + c * lines.inner]);
      if (value > top) top = value;
    }
    top = (Real<T>)combined(seat, (f64)top, room, Larger());
    f64 sum = 0;
    for (i64 c = seat.part; c < length; c += seat.parts)
      sum += (f64)exponential(real(x[at + c * lines.inner]) - top);
    Real<T> total = (Real<T>)combined(seat, sum, room, Add());
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 place = at + c * lines.inner;
      y[place] = cast<T>(exponential(real(x[place]) - top) / total);
    }
  }
}
#else
/// dx = y * (dy - sum(y * dy)) along each line.
///
/// Since y adds up to 1, dy may be taken from where it stands at the largest y: what is left of a
/// saturated y, 1 less itself, is then a sum of the others and not a difference. In halves, as a
/// difference of two numbers may overflow.
extern "C" __global__ void __launch_bounds__(256)
    softmaxGradient(const T* y, const T* dy, T* dx, const Lines lines) {
  __shared__ f64 room[256];
  __shared__ i64 places[256];
  const Real<T> half = (Real<T>)0.5;
  Seat seat(lines);
  for (i64 first = (i64)blockIdx.x * seat.lanes; first < lines.count;
       first += (i64)gridDim.x * seat.lanes) {
    i64 line = first + seat.lane;
    i64 length = line < lines.count ? lines.length : 0, at = start(lines, line);
    Real<T> best = -infinity(Real<T>());
    i64 place = lines.length;
    for (i64 c = seat.part; c < length; c += seat.parts) {
      Real<T> value = real(y[at + c * lines.inner]);
      if (value > best) {
        best = value;
        place = c;
      }
    }
    Real<T> top = (Real<T>)combined(seat, (f64)best, room, Larger());
    place = combined(seat, best == top ? place : lines.length, places, Smaller());
    Real<T> shift = 0;
    if (place < length) {
      shift = half * real(dy[at + place * lines.inner]);
      if (!(shift - shift == 0)) shift = 0;
    }
    f64 dot = 0;
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 own = at + c * lines.inner;
      dot += (f64)real(y[own]) * (f64)(half * real(dy[own]) - shift);
    }
    Real<T> total = (Real<T>)combined(seat, dot, room, Add());
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 own = at + c * lines.inner;
      dx[own] = cast<T>(2 * real(y[own]) * (half * real(dy[own]) - shift - total));
    }
  }
}
#endif
