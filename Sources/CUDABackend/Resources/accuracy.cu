// The share of rows whose label is among the k largest scores.

/// hits[row] = 1 where fewer than k scores come before the label's: larger ones, and equal ones of
/// smaller classes. None where the label is no class or its score is NaN.
extern "C" __global__ void __launch_bounds__(256)
    hits(const T* scores, const i64* label, u32* hits, i64 k, const Lines lines) {
  __shared__ i64 room[256];
  Seat seat(lines);
  for (i64 first = (i64)blockIdx.x * seat.lanes; first < lines.count;
       first += (i64)gridDim.x * seat.lanes) {
    i64 line = first + seat.lane, given = line < lines.count ? label[line] : -1;
    const T* x = scores + line * lines.length;
    bool isClass = given >= 0 && given < lines.length;
    i64 before = 0;
    if (isClass) {
      Real<T> own = real(x[given]);
      isClass = own == own;
      for (i64 c = seat.part; c < lines.length; c += seat.parts) {
        Real<T> other = real(x[c]);
        before += other > own || (other == own && c < given);
      }
    }
    before = combined(seat, before, room, Add());
    if (seat.part == 0 && line < lines.count) hits[line] = isClass && before < k;
  }
}

/// out = the share of 1 among `hits`; one block.
extern "C" __global__ void __launch_bounds__(256) share(const u32* hits, f32* out, i64 rows) {
  __shared__ i64 room[256];
  Lines lines = {1, rows, 1, 256, 0};
  Seat seat(lines);
  i64 count = 0;
  for (i64 row = threadIdx.x; row < rows; row += 256) count += hits[row];
  count = combined(seat, count, room, Add());
  if (threadIdx.x == 0) out[0] = (f32)count / (f32)rows;
}
