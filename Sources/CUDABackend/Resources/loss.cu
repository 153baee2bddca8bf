// Cross entropy of a softmax along each line. With -DSOFT a label is a distribution, else the number
// of a class. y may be x, and dx may be y, as in softmax.cu.
#ifdef SOFT
typedef T Label;
#else
typedef i64 Label;
#endif

#ifndef GRADIENT
/// loss = log(sum) * mass - sum of label * (x - top), mass = the sum of the label; y = the softmax.
///
/// A line with the label `ignored`, or whose labels are all 0, has a loss of 0, whatever its logits;
/// one whose label is no class a loss of NaN.
extern "C" __global__ void __launch_bounds__(256)
    crossEntropy(const T* x, const Label* label, T* loss, T* y, i64 ignored, const Lines lines) {
  __shared__ f64 room[256];
  Seat seat(lines);
  for (i64 first = (i64)blockIdx.x * seat.lanes; first < lines.count;
       first += (i64)gridDim.x * seat.lanes) {
    i64 line = first + seat.lane;
    i64 length = line < lines.count ? lines.length : 0, at = start(lines, line);
    Real<T> top = -infinity(Real<T>());
    for (i64 c = seat.part; c < length; c += seat.parts) {
      Real<T> value = real(x[at + c * lines.inner]);
      if (value > top) top = value;
    }
    top = (Real<T>)combined(seat, (f64)top, room, Larger());
    // Those that are 1 apart: where one is nearly all of the sum, the logarithm is that of the rest.
    f64 ones = 0, rest = 0;
    for (i64 c = seat.part; c < length; c += seat.parts) {
      f64 term = (f64)exponential(real(x[at + c * lines.inner]) - top);
      if (term == 1) ones += term;
      else rest += term;
    }
#ifdef SOFT
    f64 ownTerms = 0, ownMass = 0;
    for (i64 c = seat.part; c < length; c += seat.parts) {
      f64 share = (f64)real(label[at + c * lines.inner]);
      ownMass += share;
      // In halves: the difference may overflow.
      if (share != 0) ownTerms += share * (0.5 * (f64)real(x[at + c * lines.inner]) - 0.5 * (f64)top);
    }
    Real<T> terms = (Real<T>)(2 * combined(seat, ownTerms, room, Add()));
    Real<T> mass = (Real<T>)combined(seat, ownMass, room, Add());
#else
    Real<T> terms = 0, mass = 0;
    if (length > 0 && label[line] != ignored) {
      i64 given = label[line];
      terms = infinity(Real<T>()) - infinity(Real<T>());
      if (given >= 0 && given < length) terms = real(x[at + given * lines.inner]) - top;
      mass = 1;
    }
#endif
    ones = combined(seat, ones, room, Add());
    rest = combined(seat, rest, room, Add());
    Real<T> sum = (Real<T>)(ones + rest);
    if (seat.part == 0 && line < lines.count) {
      Real<T> log = sum < (Real<T>)1.25 ? logarithmOfOnePlus((Real<T>)(ones - 1 + rest))
                                        : logarithm(sum);
      loss[line] = cast<T>(mass == 0 && terms == 0 ? (Real<T>)0 : log * mass - terms);
    }
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 place = at + c * lines.inner;
      y[place] = cast<T>(exponential(real(x[place]) - top) / sum);
    }
  }
}
#else

/// dx = (y * sum(label) - label) * dloss. Where a class's softmax is above a half, 1 less itself is
/// summed from the others.
extern "C" __global__ void __launch_bounds__(256)
    crossEntropyGradient(const T* y, const Label* label, const T* dloss, T* dx, i64 ignored,
                         const Lines lines) {
  __shared__ f64 room[256];
  const Real<T> half = (Real<T>)0.5;
  Seat seat(lines);
#ifdef SOFT
  __shared__ i64 places[256];
#endif
  for (i64 first = (i64)blockIdx.x * seat.lanes; first < lines.count;
       first += (i64)gridDim.x * seat.lanes) {
    i64 line = first + seat.lane;
    i64 length = line < lines.count ? lines.length : 0, at = start(lines, line);
#ifdef SOFT
    f64 ownMass = 0;
    i64 place = lines.length;
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 own = at + c * lines.inner;
      ownMass += (f64)real(label[own]);
      if (place == lines.length && real(y[own]) > half) place = c;
    }
    Real<T> mass = (Real<T>)combined(seat, ownMass, room, Add());
    place = combined(seat, place, places, Smaller());
    f64 otherLabels = 0, others = 0;
    for (i64 c = seat.part; c < length && place < length; c += seat.parts) {
      if (c == place) continue;
      otherLabels += (f64)real(label[at + c * lines.inner]);
      others += (f64)real(y[at + c * lines.inner]);
    }
    otherLabels = combined(seat, otherLabels, room, Add());
    others = combined(seat, others, room, Add());
    Real<T> slope = length > 0 ? real(dloss[line]) : (Real<T>)0;
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 own = at + c * lines.inner;
      Real<T> share = real(y[own]), wanted = real(label[own]);
      Real<T> difference = c == place
                               ? share * (Real<T>)otherLabels - wanted * (Real<T>)others
                               : share * mass - wanted;
      dx[own] = cast<T>(difference * slope);
    }
#else
    i64 given = -1;
    Real<T> factor = 0;
    if (length > 0 && label[line] != ignored) {
      given = label[line];
      factor = given >= 0 && given < length ? real(dloss[line])
                                            : infinity(factor) - infinity(factor);
    }
    bool isClass = given >= 0 && given < length;
    bool isCertain = isClass && real(y[at + given * lines.inner]) > half;
    f64 sum = 0;
    for (i64 c = seat.part; c < length && isCertain; c += seat.parts)
      if (c != given) sum += (f64)real(y[at + c * lines.inner]);
    Real<T> others = (Real<T>)combined(seat, sum, room, Add());
    // An ignored line is 0 whatever its softmax is.
    for (i64 c = seat.part; c < length; c += seat.parts) {
      i64 own = at + c * lines.inner;
      Real<T> value = factor == 0 ? (Real<T>)0 : real(y[own]) * factor;
      if (isClass && c == given && factor != 0) value = isCertain ? -(others * factor) : value - factor;
      dx[own] = cast<T>(value);
    }
#endif
  }
}
#endif
