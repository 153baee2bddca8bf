// Counters of int64 that live on the card. One thread.

extern "C" __global__ void increment(i64* counter) { *counter = (i64)((u64)*counter + 1); }

/// draw = counter, then counter + 1.
extern "C" __global__ void draw(i64* counter, i64* draw) {
  i64 number = *counter;
  *draw = number;
  *counter = (i64)((u64)number + 1);
}

/// The counters of AverageAccumulate, behind the sums: a window that is long enough is closed.
extern "C" __global__ void countAverage(
    i64* accumulated, i64* old, i64* updates, i64 leastWindow, i64 mostWindow, f64 rate) {
  i64 update = *updates + 1, inWindow = *accumulated + 1;
  f64 share = (f64)update * rate, most = (f64)mostWindow;
  bool closes = inWindow >= leastWindow && (f64)inWindow >= (share < most ? share : most);
  if (closes) *old = inWindow;
  *accumulated = closes ? 0 : inWindow;
  *updates = update;
}
