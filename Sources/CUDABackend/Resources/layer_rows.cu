// In-place activated batch normalization of [rows][channels], where rows are multiples of 16 bytes.
//
// Channels are cut into slices of a few chunks. A group of blocks works on a slice: each block owns
// adjoining rows and keeps the last of them in shared memory between the sums and what follows; the
// others it reads a second time, those that were read last first, as the second-level cache still
// holds them. Where a slice fits into the shared memory of a group nothing is read twice. Rows that are
// not kept are handed out a piece a warp as warps become free; while kept rows are written those of
// the next slice are loaded into their places. Each slice costs its group one barrier.
//
// LANES: chunks of a slice, a power of two of at most 16.

struct Rows {
  u32 rows, channels;
  /// Chunks of a row.
  u32 lanes;
  u32 slices, members, groups;
  /// Rows of a block, and how many of them it keeps.
  u32 perBlock, keep;
};
/// The first blocks of a group add up the sums of so many, so that not everybody reads all.
#define TEAM 16
/// Steps of a warp in a piece of rows.
#define PIECE 16
#define WARPS (THREADS / 32)
#define ROWS_IN_FLIGHT (THREADS / LANES)
#define WARP_ROWS (32 / LANES)

/// Counters of a group: of its barrier, of pieces (two, used in turn), and of its teams.
#define GROUP_PIECES 1
#define GROUP_TEAMS 3
#define GROUP_COUNTERS 96

/// A block's part of a group.
struct RowTeam {
  u32 group, member, lo, hi, kept;
  /// The thread's chunk of the slice, and the row at which it starts.
  u32 lane, row;
  u32 round, phase;
  u32* counters;
  double2* partials;
};
__device__ __forceinline__ u32 teams(const Rows& p) { return (p.members + TEAM - 1) / TEAM; }
__device__ __forceinline__ u32 firstRow(const Rows& p, u32 member) {
  return min(p.rows, member * p.perBlock);
}
/// The first row that a member keeps.
__device__ __forceinline__ u32 firstKept(const Rows& p, u32 member) {
  u32 lo = firstRow(p, member), hi = min(p.rows, lo + p.perBlock);
  return hi - min(hi - lo, p.keep);
}
__device__ __forceinline__ RowTeam rowTeam(const Rows& p, double2* partials, u32* counters) {
  RowTeam t;
  t.group = blockIdx.x / p.members;
  t.member = blockIdx.x - t.group * p.members;
  t.lo = firstRow(p, t.member);
  t.hi = min(p.rows, t.lo + p.perBlock);
  t.kept = firstKept(p, t.member);
  t.lane = threadIdx.x % LANES;
  t.row = threadIdx.x / LANES;
  t.round = 0;
  t.counters = counters + COUNTER_GROUPS + t.group * GROUP_COUNTERS;
  t.partials = partials
      + (u64)t.group * 2 * (p.members + teams(p)) * LANES * V;
  // Nobody passes a barrier before this block has come to it.
  t.phase = acquire(t.counters) >> 31;
  return t;
}
/// A place of the partial sums of the round: the members' and behind them the teams'.
__device__ __forceinline__ double2* partialOf(const Rows& p, const RowTeam& t, u32 index) {
  u32 half = t.round % 2 * (p.members + teams(p));
  return t.partials + (u64)(half + index) * LANES * V;
}

/// How two numbers of each of some blocks become those of all: sums, or means and squares around them
/// of so many rows.
struct Merge {
  f64 n, origin;
  double2 sum;
};
template <bool IS_SUM>
__device__ __forceinline__ void merge(Merge& m, double2 other, f64 n) {
  if (IS_SUM) {
    m.sum.x += other.x;
    m.sum.y += other.y;
  } else if (n > 0) {
    if (m.n == 0) m.origin = other.x;
    f64 d = other.x - m.origin;
    m.n += n;
    m.sum.x += n * d;
    m.sum.y += other.y + n * d * d;
  }
}
template <bool IS_SUM> __device__ __forceinline__ double2 merged(const Merge& m) {
  if (IS_SUM) return m.sum;
  f64 d = m.n > 0 ? m.sum.x / m.n : 0;
  return make_double2(m.origin + d, m.sum.y - m.sum.x * d);
}
__device__ __forceinline__ f64 rowsOfMembers(const Rows& p, u32 first, u32 last) {
  return (f64)(firstRow(p, last) - firstRow(p, first));
}

/// A barrier of the group through which each thread below `width` brings two numbers of a channel of
/// its block and gets those of all blocks.
template <bool IS_SUM>
__device__ __forceinline__ double2 exchange(const Rows& p, RowTeam& t, double2 own, u32 width) {
  __shared__ bool isLast;
  u32 tch = threadIdx.x, count = teams(p);
  if (p.members > 1) {
    if (tch < width) storeShared(partialOf(p, t, t.member) + tch, own);
    __syncthreads();
    u32 team = t.member / TEAM, first = team * TEAM, size = min(p.members - first, (u32)TEAM);
    if (threadIdx.x == 0) {
      isLast = arriveAndRead(t.counters + GROUP_TEAMS + team) == size - 1;
      if (isLast) storeShared(t.counters + GROUP_TEAMS + team, 0u);
    }
    __syncthreads();
    if (isLast) {
      if (count > 1 && tch < width) {
        Merge m = {0, 0, make_double2(0, 0)};
        for (u32 i = first; i < first + size; i++)
          merge<IS_SUM>(m, loadShared(partialOf(p, t, i) + tch), rowsOfMembers(p, i, i + 1));
        storeShared(partialOf(p, t, p.members + team) + tch, merged<IS_SUM>(m));
      }
      __syncthreads();
      if (threadIdx.x == 0) arriveAtBarrier(t.counters, count, team);
    }
    if (threadIdx.x == 0) {
      while ((acquire(t.counters) >> 31 ^ t.phase) == t.round % 2) {}
      // The other counter of pieces is free: all blocks are behind its round.
      if (t.member == 0) storeShared(t.counters + GROUP_PIECES + (t.round + 1) % 2, 0u);
    }
    __syncthreads();
    if (tch < width) {
      Merge m = {0, 0, make_double2(0, 0)};
      if (count > 1) {
        for (u32 i = 0; i < count; i++)
          merge<IS_SUM>(m, loadShared(partialOf(p, t, p.members + i) + tch),
                rowsOfMembers(p, i * TEAM, min(p.members, (i + 1) * TEAM)));
      } else {
        for (u32 i = 0; i < p.members; i++)
          merge<IS_SUM>(m, loadShared(partialOf(p, t, i) + tch), rowsOfMembers(p, i, i + 1));
      }
      own = merged<IS_SUM>(m);
    }
  }
  t.round++;
  return own;
}
/// The same of plain sums, where it is rare.
__device__ __noinline__ double2 sumRows(const Rows& p, RowTeam& t, double2 own, u32 width) {
  return exchange<true>(p, t, own, width);
}
/// A barrier of the group that brings nothing.
__device__ __noinline__ void meet(const Rows& p, RowTeam& t) {
  __syncthreads();
  exchange<true>(p, t, make_double2(0, 0), 0);
  __syncthreads();
}

/// The rows of the next piece of rows that no block keeps, for a warp: those that were read last first.
/// False where none is left.
__device__ __forceinline__ bool piece(
    const Rows& p, const RowTeam& t, u32 number, u32& first, u32& end) {
  u32 rows = PIECE * WARP_ROWS, level = number / p.members, member = number - level * p.members;
  if (p.perBlock <= p.keep || (u64)level * rows >= p.perBlock - p.keep) return false;
  u32 lo = firstRow(p, member), top = firstKept(p, member);
  end = top > lo + level * rows ? top - level * rows : lo;
  first = end > lo + rows ? end - rows : lo;
  return true;
}
__device__ __forceinline__ u32 takePiece(const RowTeam& t) {
  u32 number = 0;
  if (threadIdx.x % 32 == 0)
    number = takeNumber(t.counters + GROUP_PIECES + (t.round - 1) % 2);
  return number;
}
__device__ __forceinline__ u32 fromFirstLane(u32 x) { return __shfl_sync(0xffffffffu, x, 0); }

/// Puts the counters of pieces back, when all blocks have ended.
__device__ __forceinline__ bool endLaunch(const Rows& p, u32* counters) {
  if (arriveAndRead(counters + COUNTER_EXIT) != gridDim.x - 1) return false;
  storeShared(counters + COUNTER_EXIT, 0u);
  storeShared(counters + COUNTER_RESCUED, 0u);
  for (u32 g = 0; g < p.groups; g++) {
    u32* group = counters + COUNTER_GROUPS + g * GROUP_COUNTERS;
    storeShared(group + GROUP_PIECES, 0u);
    storeShared(group + GROUP_PIECES + 1, 0u);
  }
  return true;
}

/// The sums of the threads of a warp that have the same channels, in the first of them.
__device__ __forceinline__ void foldWarp(const Rows& p, R (&s)[V], R (&q)[V]) {
  for (u32 d = LANES; d < 32; d *= 2) {
#pragma unroll
    for (int i = 0; i < V; i++) {
      s[i] += __shfl_xor_sync(0xffffffffu, s[i], d);
      q[i] += __shfl_xor_sync(0xffffffffu, q[i], d);
    }
  }
}

// Forward.

/// Sums around the threads' pivots, with rows in memory and in shared memory.
__device__ __forceinline__ void addRow(const Chunk& c, const R (&pivot)[V], R (&s)[V], R (&q)[V]) {
  R v[V];
  unpack<T>(c, v);
#pragma unroll
  for (int i = 0; i < V; i++) {
    R d = v[i] - pivot[i];
    s[i] += d;
    q[i] = fused(q[i], d, d);
  }
}

/// Two sums of each of a slice's channels over the block's rows, in f64, around a center; in the
/// threads below `width`.
__device__ __noinline__ double2 carefulRows(
    const Rows& p, const RowTeam& t, const T* x, u32 firstChannel, u32 width, const f64* center,
    double2* shared) {
  double2 mine = make_double2(0, 0);
  for (u32 c = 0; c < width; c++) {
    double2 sum = make_double2(0, 0);
    for (u32 r = t.lo + threadIdx.x; r < t.hi; r += THREADS) {
      f64 d = (f64)real(x[(u64)r * p.channels + firstChannel + c]) - center[c];
      sum.x += d;
      sum.y += d * d;
    }
    sum = warpSum(sum);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == c)
      for (u32 w = 0; w < WARPS; w++)
        mine = make_double2(mine.x + shared[w].x, mine.y + shared[w].y);
  }
  return mine;
}

/// Rows of the rescue for a slice's channels that need one, and their x in it. False where there are
/// too few; then no row is taken.
__device__ __noinline__ bool keepRowsAside(
    const Rows& p, RowTeam& t, const Rescue& rescue, const ForwardNumbers* results, const T* x,
    u32 firstChannel, u32 width, u32* counters) {
  if (t.member == 0 && threadIdx.x == 0) {
    u32 lost = 0;
    for (u32 c = 0; c < width; c++) lost += results[c].lost ? 1 : 0;
    u32 most = rescue.slots + (rescue.far ? rescue.farSlots : 0);
    i32 row = 0;
    for (u32 c = 0; c < width; c++) {
      if (results[c].lost) row = (i32)takeNumber(counters + COUNTER_RESCUED);
      bool hasRoom = row < (i32)most;
      if (results[c].lost && !hasRoom) storeShared(rescue.full, 1u);
      storeShared((u32*)rescue.rows + firstChannel + c,
                  (u32)(!results[c].lost ? -1 : hasRoom ? row : -2));
    }
  }
  meet(p, t);
  bool isComplete = true;
  for (u32 c = 0; c < width; c++) {
    i32 row = (i32)loadShared((u32*)rescue.rows + firstChannel + c);
    if (row == -2) isComplete = false;
    if (row < 0) continue;
    T* to = rescueRow(rescue, row, p.rows);
    for (u32 r = t.lo + threadIdx.x; r < t.hi; r += THREADS)
      to[r] = x[(u64)r * p.channels + firstChannel + c];
  }
  // Pieces of this block's rows may be written by others.
  meet(p, t);
  return isComplete;
}

extern "C" __global__ void __launch_bounds__(THREADS, PER)
    rowsForward(const T* x_, T* z_, T* outer_, const R* scale, const R* bias, const R* slopes,
                StatisticsPointers pointers, Rescue rescue, double2* partials, u32* counters,
                Rows p, LayerNumbers numbers) {
  DYNAMIC_SHARED(Chunk, kept);
  __shared__ float2 fold[WARPS * LANES * V];
  __shared__ R pivots[LANES * V];
  __shared__ ForwardNumbers results[LANES * V];
  const Chunk* x = (const Chunk*)x_;
  Chunk* z = (Chunk*)z_;
  RowTeam t = rowTeam(p, partials, counters);
#if OUTER
  R alpha = (R)numbers.alpha;
#endif
  u32 keptRows = t.hi - t.kept;
  if (t.lane + t.group * LANES < p.lanes) {
    const Chunk* from = x + (u64)t.kept * p.lanes + t.group * LANES + t.lane;
    for (u32 r = t.row; r < keptRows; r += ROWS_IN_FLIGHT)
      copyAsync(kept + r * LANES + t.lane, from + (u64)r * p.lanes);
  }
  for (u32 slice = t.group; slice < p.slices; slice += p.groups) {
    u32 firstLane = slice * LANES, firstChannel = firstLane * V;
    u32 width = min(LANES, p.lanes - firstLane) * V, tch = threadIdx.x;
    bool isActive = t.lane * V < width;
    const Chunk* from = x + firstLane + t.lane;
    {
      R pivot[V], s[V], q[V];
#pragma unroll
      for (int i = 0; i < V; i++) pivot[i] = s[i] = q[i] = 0;
      if (isActive) {
#if TRAIN
        // The block's first row, which it overwrites itself, later.
        unpack<T>(from[(u64)min(t.lo, p.rows - 1) * p.lanes], pivot);
#pragma unroll
        for (int i = 0; i < V; i++) pivot[i] = isFinite(pivot[i]) ? pivot[i] : (R)0;
#else
#pragma unroll
        for (int i = 0; i < V; i++)
          pivot[i] = pointers.movingMean[firstChannel + t.lane * V + i];
#endif
        u32 r = t.lo + t.row;
        for (; r + 3 * ROWS_IN_FLIGHT < t.kept; r += 4 * ROWS_IN_FLIGHT) {
          Chunk c[4];
#pragma unroll
          for (int j = 0; j < 4; j++) c[j] = from[(u64)(r + j * ROWS_IN_FLIGHT) * p.lanes];
#pragma unroll
          for (int j = 0; j < 4; j++) addRow(c[j], pivot, s, q);
        }
        for (; r < t.kept; r += ROWS_IN_FLIGHT) addRow(from[(u64)r * p.lanes], pivot, s, q);
        waitAsync();
#pragma unroll 2
        for (u32 r = t.row; r < keptRows; r += ROWS_IN_FLIGHT)
          addRow(kept[r * LANES + t.lane], pivot, s, q);
      }
      foldWarp(p, s, q);
      if (threadIdx.x % 32 < LANES) {
#pragma unroll
        for (int i = 0; i < V; i++) {
          fold[(threadIdx.x / 32 * LANES + t.lane) * V + i] = make_float2(s[i], q[i]);
          if (threadIdx.x < 32) pivots[t.lane * V + i] = pivot[i];
        }
      }
    }
    __syncthreads();
    double2 own = make_double2(0, 0);
    f64 n = (f64)(t.hi - t.lo);
    if (tch < width) {
      float2 sum = make_float2(0, 0);
      for (u32 w = 0; w < WARPS; w++) {
        float2 other = fold[w * LANES * V + tch];
        sum.x += other.x;
        sum.y += other.y;
      }
#if TRAIN
      // Mean and squares around it; NaN for squares that left the range, or are all the pivot's.
      f64 shift = n > 0 ? sum.x / n : 0, squares = sum.y - sum.x * shift;
      bool isGood = sum.y <= 64 * squares && sum.y >= 0x1p-100f * n;
      if (!isGood && !(sum.x == 0 && sum.y == 0)) squares = notANumber();
      own = make_double2((f64)pivots[tch] + shift, squares);
#else
      own = make_double2(sum.x, sum.y);
#endif
    }
    own = exchange<TRAIN == 0>(p, t, own, width);
    f64 count = (f64)p.rows;
    bool redo = false;
    if (tch < width) redo = TRAIN ? !(own.y >= 0 || own.y < 0) : !(own.y < 1e38);
    if (__syncthreads_or(redo)) {
      // All blocks see the same sums, and do this together. A copy, as what calls take the address of
      // is in no register.
      RowTeam copy = t;
      __shared__ f64 center[LANES * V];
      double2* shared = (double2*)fold;
      f64 mean = 0;
      if (tch < width) center[tch] = TRAIN ? 0.0 : (f64)pointers.movingMean[firstChannel + tch];
      __syncthreads();
#if TRAIN
      double2 sums = carefulRows(p, copy, x_, firstChannel, width, center, shared);
      sums = sumRows(p, copy, sums, width);
      mean = sums.x / count;
      __syncthreads();
      if (tch < width) center[tch] = mean;
      __syncthreads();
#endif
      double2 squares = carefulRows(p, copy, x_, firstChannel, width, center, shared);
      squares = sumRows(p, copy, squares, width);
      f64 d = squares.x / count;
#if TRAIN
      own = make_double2(movedMean(mean, d), notNegative(squares.y - squares.x * d));
#else
      own = squares;
#endif
      t.round = copy.round;
    }
    if (tch < width) {
      ChannelParameters parameters =
          channelParameters(scale, bias, slopes, numbers.alpha, firstChannel + tch);
      f64 square = own.y / count;
      results[tch] = forwardNumbers(
          pointers, numbers, parameters, firstChannel + tch, p.channels, count,
          TRAIN ? own.x : own.x / count, notNegative(square), square, t.member == 0);
#if RESCUE
      if (t.member == 0 && !results[tch].lost) rescue.rows[firstChannel + tch] = -1;
#endif
    }
    bool isWritten = true;
#if RESCUE
    if (__syncthreads_or(tch < width && results[tch].lost)) {
      RowTeam copy = t;
      isWritten = keepRowsAside(p, copy, rescue, results, x_, firstChannel, width, counters);
      t.round = copy.round;
    }
#else
    __syncthreads();
#endif
    R mean[V], gain[V], shift[V], slope = 0;
    if (isActive) {
#pragma unroll
      for (int i = 0; i < V; i++) {
        ForwardNumbers n = results[t.lane * V + i];
        mean[i] = n.mean;
        gain[i] = n.gain;
        // The mean of 16-bit elements is worth no rounding of its own: their spacing is far more.
        shift[i] = sizeof(T) == 2 ? n.shift - n.mean * n.gain : n.shift;
        slope = n.slope;
      }
    }
    auto write = [&](u64 at, const Chunk& c) {
      R v[V];
      unpack<T>(c, v);
#pragma unroll
      for (int i = 0; i < V; i++)
        v[i] = activate<ACT>(
            fused(shift[i], sizeof(T) == 2 ? v[i] : v[i] - mean[i], gain[i]), slope);
      Chunk stored = pack<T>(v);
      storeStreaming(z + at, stored);
#if OUTER
      unpack<T>(stored, v);
#pragma unroll
      for (int i = 0; i < V; i++) v[i] = activate<OUTER>(v[i], alpha);
      storeStreaming((Chunk*)outer_ + at, pack<T>(v));
#endif
    };
    u64 column = firstLane + t.lane;
    if (p.keep < p.perBlock) {
      u32 number = fromFirstLane(takePiece(t)), first, end;
      while (piece(p, t, number, first, end)) {
        u32 later = takePiece(t);
        if (isActive && isWritten) {
          u32 r = first + threadIdx.x % 32 / LANES, step = WARP_ROWS;
          for (; r + 3 * step < end; r += 4 * step) {
            Chunk c[4];
#pragma unroll
            for (int j = 0; j < 4; j++) c[j] = x[(u64)(r + j * step) * p.lanes + column];
#pragma unroll
            for (int j = 0; j < 4; j++) write((u64)(r + j * step) * p.lanes + column, c[j]);
          }
          for (; r < end; r += step) write((u64)r * p.lanes + column, x[(u64)r * p.lanes + column]);
        }
        number = fromFirstLane(later);
      }
    }
    u32 next = slice + p.groups, nextLane = next * LANES + t.lane;
    bool hasNext = next < p.slices && nextLane < p.lanes;
    for (u32 r = t.row; r < keptRows; r += ROWS_IN_FLIGHT) {
      u64 row = (u64)(t.kept + r) * p.lanes;
      Chunk* place = kept + r * LANES + t.lane;
      if (isActive && isWritten) write(row + column, *place);
      if (hasNext) copyAsync(place, x + row + nextLane);
    }
  }
  if (threadIdx.x == 0) endLaunch(p, counters);
}

// Backward.

/// What the element loops use of the channels of a thread: of dx = dy * factor + distance * factor +
/// offset, and of the distance, y - bias (0 where z is `plain`) or x - mean.
struct RowFactors {
  R dy[V], distance[V], offset[V], center[V], plain[V];
  R slope, inverseSlope;
  /// Bit i: channel i is rescued.
  u32 rescued;
};

/// y, dy and the distance of an element.
__device__ __forceinline__ void rowPoint(
    R kept, R dz, R center, R plain, const RowFactors& f, R alpha, R& y, R& dy, R& distance) {
#if FROM_X
  y = kept;
  distance = kept - center;
  dy = dz;
#else
  R d;
  invert(kept, f.slope, f.inverseSlope, y, d);
  distance = kept == plain ? (R)0 : y - center;
#if OUTER
  dy = activationGradient<OUTER>(y, dz, alpha);
#else
  dy = dz * d;
#endif
#endif
}

template <int WAY>
__device__ __forceinline__ void addRows(
    const Chunk& kept, const Chunk& gradient, const RowFactors& f, R alpha, R (&dy)[V],
    R (&distance)[V], R& slope) {
  R v[V], w[V];
  unpack<T>(kept, v);
  unpack<T>(gradient, w);
#pragma unroll
  for (int i = 0; i < V; i++) {
    if (WAY == DIRECT) {
      distance[i] = fused(distance[i], w[i], v[i]);
#if ACT == IDENTITY
      dy[i] += w[i];
#else
      bool bent = !(v[i] > 0);
      dy[i] = fused(dy[i], w[i], bent ? f.slope : (R)1);
#if ACT == PRELU
      if (bent && !(f.rescued >> i & 1)) slope = fused(slope, w[i], v[i] * f.inverseSlope);
#endif
#endif
    } else {
      R y, d, own;
      rowPoint(v[i], w[i], f.center[i], f.plain[i], f, alpha, y, d, own);
      dy[i] += d;
      distance[i] = fused(distance[i], d, own);
#if ACT == PRELU
      if (!(y > 0) && !(f.rescued >> i & 1)) slope = fused(slope, w[i], y);
#endif
    }
  }
}

template <int WAY>
__device__ __forceinline__ Chunk gradientOfRow(
    const Chunk& kept, const Chunk& gradient, const RowFactors& f, R alpha) {
  R v[V], w[V];
  unpack<T>(kept, v);
  unpack<T>(gradient, w);
#pragma unroll
  for (int i = 0; i < V; i++) {
    if (WAY == DIRECT) {
#if ACT != IDENTITY
      bool bent = !(v[i] > 0);
      v[i] = bent ? v[i] * f.inverseSlope : v[i];
      w[i] = bent ? w[i] * f.slope : w[i];
#endif
      w[i] = fused(fused(f.offset[i], v[i], f.distance[i]), w[i], f.dy[i]);
    } else {
      R y, dy, own;
      rowPoint(v[i], w[i], f.center[i], f.plain[i], f, alpha, y, dy, own);
#if TRAIN
      w[i] = fused(fused(f.offset[i], own, f.distance[i]), dy, f.dy[i]);
#else
      w[i] = dy * f.dy[i];
#endif
    }
  }
  return pack<T>(w);
}

/// Of a slice: what totals and loops read of each channel.
struct SliceNumbers {
  BackwardNumbers channels[LANES * V];
  ChannelState states[LANES * V];
};

__device__ __forceinline__ RowFactors rowFactors(const SliceNumbers& slice, u32 lane) {
  RowFactors f;
  f.slope = slice.channels[0].slope;
  f.inverseSlope = slice.channels[0].inverseSlope;
  f.rescued = 0;
#pragma unroll
  for (int i = 0; i < V; i++) {
    const BackwardNumbers& n = slice.channels[lane * V + i];
    f.dy[i] = n.dyFactor;
    f.distance[i] = n.distanceFactor;
    f.offset[i] = n.offset;
    f.center[i] = FROM_X ? n.mean : n.bias;
    f.plain[i] = n.plain;
    if (slice.states[lane * V + i].row >= 0) f.rescued |= 1u << i;
  }
  return f;
}

/// The sums of a rescued channel over a block's rows, from its kept x, in all threads.
__device__ __noinline__ void rescuedSums(
    const Rows& p, const RowTeam& t, const Rescue& rescue, const T* dz, const ChannelState& state,
    u32 channel, R alpha, f64 (&sums)[3], f64 (*shared)[3]) {
  BackwardNumbers n = backwardNumbers(state);
  const T* x = rescueRow(rescue, state.row, p.rows);
  Sums own = {0, 0, 0};
  for (u32 r = t.lo + threadIdx.x; r < t.hi; r += THREADS)
    addPoint<INPUT>(n, real(x[r]), real(dz[(u64)r * p.channels + channel]), alpha, own);
  f64 a = warpSum((f64)own.dy), b = warpSum((f64)own.distance), c = warpSum((f64)own.slope);
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    shared[threadIdx.x / 32][0] = a;
    shared[threadIdx.x / 32][1] = b;
    shared[threadIdx.x / 32][2] = c;
  }
  __syncthreads();
  for (int i = 0; i < 3; i++) {
    sums[i] = 0;
    for (u32 w = 0; w < WARPS; w++) sums[i] += shared[w][i];
  }
}
/// dx of a slice's rescued channels over a block's rows, from their kept x.
__device__ __noinline__ void rescuedGradients(
    const Rows& p, RowTeam& t, const Rescue& rescue, const SliceNumbers& slice, const T* dz, T* dx,
    u32 firstChannel, u32 width, R alpha) {
  for (u32 c = 0; c < width; c++) {
    if (slice.states[c].row < 0) continue;
    const T* x = rescueRow(rescue, slice.states[c].row, p.rows);
    for (u32 r = t.lo + threadIdx.x; r < t.hi; r += THREADS) {
      u64 at = (u64)r * p.channels + firstChannel + c;
      dx[at] = cast<T>(gradientOfX<INPUT>(slice.channels[c], real(x[r]), real(dz[at]), alpha));
    }
  }
  // The other channels of these rows may be written by other blocks, around these.
  meet(p, t);
}
/// A chunk whose rescued elements are what memory already holds.
__device__ __forceinline__ Chunk besideRescued(Chunk now, Chunk computed, u32 rescued) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    u32 mask = sizeof(T) == 4 ? (rescued >> i & 1 ? 0xffffffffu : 0)
                              : (rescued >> 2 * i & 1 ? 0xffffu : 0)
            | (rescued >> 2 * i & 2 ? 0xffff0000u : 0);
    computed.w[i] = (now.w[i] & mask) | (computed.w[i] & ~mask);
  }
  return computed;
}

/// A slice of the backward pass, between its sums and its end, in one of the ways.
struct RowTensors {
  const Chunk* kept;
  const Chunk* dz;
  Chunk* dx;
};
template <int WAY>
__device__ __forceinline__ void sumSlice(
    const Rows& p, const RowTeam& t, const RowTensors& x, const Chunk* kept, const Chunk* keptDz,
    const SliceNumbers& slice, u32 firstLane, R alpha, R (&dy)[V], R (&distance)[V], R& slope) {
  RowFactors f = rowFactors(slice, t.lane);
  u64 column = firstLane + t.lane;
  u32 r = t.lo + t.row, end = t.kept, step = ROWS_IN_FLIGHT, keptRows = t.hi - t.kept;
  for (; r + step < end; r += 2 * step) {
    u64 first = (u64)r * p.lanes + column, second = (u64)(r + step) * p.lanes + column;
    Chunk a = x.kept[first], b = x.dz[first], c = x.kept[second], d = x.dz[second];
    addRows<WAY>(a, b, f, alpha, dy, distance, slope);
    addRows<WAY>(c, d, f, alpha, dy, distance, slope);
  }
  if (r < end) {
    u64 at = (u64)r * p.lanes + column;
    addRows<WAY>(x.kept[at], x.dz[at], f, alpha, dy, distance, slope);
  }
  waitAsync();
  for (u32 r = t.row; r < keptRows; r += step) {
    u32 at = r * LANES + t.lane;
    addRows<WAY>(kept[at], keptDz[at], f, alpha, dy, distance, slope);
  }
}
template <int WAY>
__device__ __forceinline__ void writeSlice(
    const Rows& p, const RowTeam& t, const RowTensors& x, Chunk* kept, Chunk* keptDz,
    const SliceNumbers& slice, u32 firstLane, bool isActive, u32 next, R alpha) {
  RowFactors f = rowFactors(slice, isActive ? t.lane : 0);
  u64 column = firstLane + t.lane;
  auto write = [&](u64 at, const Chunk& a, const Chunk& b) {
    Chunk result = gradientOfRow<WAY>(a, b, f, alpha);
    if (f.rescued) result = besideRescued(x.dx[at], result, f.rescued);
    storeStreaming(x.dx + at, result);
  };
  if (p.keep < p.perBlock) {
    u32 number = fromFirstLane(takePiece(t)), first, end;
    while (piece(p, t, number, first, end)) {
      u32 later = takePiece(t);
      if (isActive) {
        u32 r = first + threadIdx.x % 32 / LANES, step = WARP_ROWS;
        for (; r + step < end; r += 2 * step) {
          u64 one = (u64)r * p.lanes + column, two = (u64)(r + step) * p.lanes + column;
          Chunk a = x.kept[one], b = x.dz[one], c = x.kept[two], d = x.dz[two];
          write(one, a, b);
          write(two, c, d);
        }
        if (r < end) {
          u64 at = (u64)r * p.lanes + column;
          write(at, x.kept[at], x.dz[at]);
        }
      }
      number = fromFirstLane(later);
    }
  }
  u32 nextLane = next * LANES + t.lane, keptRows = t.hi - t.kept;
  bool hasNext = next < p.slices && nextLane < p.lanes;
  for (u32 r = t.row; r < keptRows; r += ROWS_IN_FLIGHT) {
    u64 row = (u64)(t.kept + r) * p.lanes;
    u32 at = r * LANES + t.lane;
    if (isActive) write(row + column, kept[at], keptDz[at]);
    if (hasNext) {
      copyAsync(kept + at, x.kept + row + nextLane);
      copyAsync(keptDz + at, x.dz + row + nextLane);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, PER)
    rowsBackward(const T* kept_, const T* dz_, T* dx_, const R* scale, const R* bias,
                 const R* slopes, const R* saved, Rescue rescue, ParameterGradients gradients,
                 R* slopeGradient, double2* partials, u32* counters, Rows p,
                 LayerNumbers numbers) {
  DYNAMIC_SHARED(Chunk, kept);
  __shared__ float2 fold[WARPS * LANES * V];
  __shared__ SliceNumbers slice;
#if ACT == PRELU
  __shared__ f32 slopeSums[WARPS];
#endif
  __shared__ f64 rescuedShares[WARPS][3];
  RowTensors x = {(const Chunk*)kept_, (const Chunk*)dz_, (Chunk*)dx_};
  RowTeam t = rowTeam(p, partials, counters);
  Chunk* keptDz = kept + p.keep * LANES;
  R alpha = (R)numbers.alpha;
  f64 count = (f64)p.rows;
  if (t.lane + t.group * LANES < p.lanes) {
    u64 column = t.group * LANES + t.lane;
    for (u32 r = t.row; r < t.hi - t.kept; r += ROWS_IN_FLIGHT) {
      u64 at = (u64)(t.kept + r) * p.lanes + column;
      copyAsync(kept + r * LANES + t.lane, x.kept + at);
      copyAsync(keptDz + r * LANES + t.lane, x.dz + at);
    }
  }
  for (u32 s = t.group; s < p.slices; s += p.groups) {
    u32 firstLane = s * LANES, firstChannel = firstLane * V, tch = threadIdx.x;
    u32 width = min(LANES, p.lanes - firstLane) * V;
    bool isActive = t.lane * V < width, isCareful = false;
    if (tch < width) {
      slice.states[tch] = channelState(scale, bias, slopes, saved, rescue.rows, numbers.alpha,
                                       firstChannel + tch, p.channels);
      slice.channels[tch] = backwardNumbers(slice.states[tch]);
      isCareful = slice.states[tch].row == -1
          && !isDirect(slice.states[tch], numbers.epsilon, count);
    }
    bool direct = !__syncthreads_or(isCareful);
    int hasRescued = 0;
#if RESCUE && !FROM_X
    hasRescued = __syncthreads_or(tch < width && slice.states[tch].row >= 0);
#endif
    R dy[V], distance[V], slope = 0;
#pragma unroll
    for (int i = 0; i < V; i++) dy[i] = distance[i] = 0;
    if (isActive) {
#if TRAIN && !FROM_X && !OUTER && ACT != ELU
      if (direct)
        sumSlice<DIRECT>(p, t, x, kept, keptDz, slice, firstLane, alpha, dy, distance, slope);
      else
#endif
        sumSlice<CAREFUL>(p, t, x, kept, keptDz, slice, firstLane, alpha, dy, distance, slope);
    }
    foldWarp(p, dy, distance);
    if (threadIdx.x % 32 < LANES) {
#pragma unroll
      for (int i = 0; i < V; i++)
        fold[(threadIdx.x / 32 * LANES + t.lane) * V + i] =
            make_float2(dy[i], distance[i]);
    }
#if ACT == PRELU
    slope = warpSum(slope);
    if (threadIdx.x % 32 == 0) slopeSums[threadIdx.x / 32] = slope;
#endif
    __syncthreads();
    double2 own = make_double2(0, 0);
    f64 slopeShare = 0;
    if (tch < width) {
      for (u32 w = 0; w < WARPS; w++) {
        float2 other = fold[w * LANES * V + tch];
        own.x += other.x;
        own.y += other.y;
      }
    }
#if ACT == PRELU
    for (u32 w = 0; w < WARPS; w++) slopeShare += slopeSums[w];
#endif
    if (hasRescued) {
      RowTeam copy = t;
      for (u32 c = 0; c < width; c++) {
        if (slice.states[c].row < 0) continue;
        f64 sums[3];
        rescuedSums(p, copy, rescue, dz_, slice.states[c], firstChannel + c, alpha, sums,
                    rescuedShares);
        if (tch == c) own = make_double2(sums[0], sums[1]);
        slopeShare += sums[2];
      }
    }
#if ACT == PRELU
    if (tch == 0) gradients.slopeShares[s * p.members + t.member] = slopeShare;
#endif
    own = exchange<true>(p, t, own, width);
    if (tch < width) {
      const ChannelState& state = slice.states[tch];
      int way = state.row >= 0 ? INPUT : direct ? DIRECT : CAREFUL;
#if FROM_X
      // The distance is x - mean: the rest of the mean is taken from the sums.
      own.y = (own.y - (f64)state.remainder * own.x) * state.inverse;
      way = INPUT;
#endif
      BackwardNumbers n = slice.channels[tch];
      finishSums(n, state, way, own.x, own.y, count, gradients, firstChannel + tch,
                 t.member == 0);
#if FROM_X
      n.distanceFactor *= state.inverse;
      n.offset -= state.remainder * n.distanceFactor;
#endif
      slice.channels[tch] = n;
    }
    __syncthreads();
    if (hasRescued) {
      RowTeam copy = t;
      rescuedGradients(p, copy, rescue, slice, dz_, dx_, firstChannel, width, alpha);
      t.round = copy.round;
    }
#if TRAIN && !FROM_X && !OUTER && ACT != ELU
    if (direct)
      writeSlice<DIRECT>(
          p, t, x, kept, keptDz, slice, firstLane, isActive, s + p.groups, alpha);
    else
#endif
      writeSlice<CAREFUL>(
          p, t, x, kept, keptDz, slice, firstLane, isActive, s + p.groups, alpha);
    // The next slice's numbers replace these.
    __syncthreads();
  }
#if ACT != PRELU
  if (threadIdx.x == 0) endLaunch(p, counters);
#else
  __shared__ bool isLast;
  if (threadIdx.x == 0) isLast = endLaunch(p, counters);
  __syncthreads();
  if (isLast && threadIdx.x < 32) {
    f64 total = 0;
    for (u32 i = threadIdx.x; i < p.slices * p.members; i += 32)
      total += loadShared(gradients.slopeShares + i);
    total = warpSum(total);
    if (threadIdx.x == 0) slopeGradient[0] = (R)total;
  }
#endif
}
