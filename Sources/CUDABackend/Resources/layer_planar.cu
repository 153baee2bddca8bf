// In-place activated batch normalization of [batch][channel][spatial], where planes are multiples of
// 16 bytes and a channel fits into the shared memory of the blocks that work on it.
//
// A group of blocks keeps a channel in shared memory between its sums and what follows from them, so
// that memory is read once: forward two passes over memory, backward three. While a channel is
// written the next one is loaded into the same places by the same threads. Each channel costs its
// group one barrier.

struct Planar {
  u32 channels, members, groups;
  /// Elements of a channel are `chunks` chunks; a plane has `planeChunks`, a member `perBlock`.
  u32 chunks, planeChunks, perBlock;
  /// k / planeChunks = (k * magic) >> 32 >> shift; with a magic of 0 k >> shift.
  u32 magic, shift;
};
/// Where chunk k of a channel stands, in chunks.
__device__ __forceinline__ u64 locate(const Planar& p, u32 k, u32 channel) {
  u32 n = p.magic ? __umulhi(k, p.magic) >> p.shift : k >> p.shift;
  return (u64)(n * p.channels + channel) * p.planeChunks + (k - n * p.planeChunks);
}
/// The elements of a member.
__device__ __forceinline__ f64 countOfMember(const Planar& p, u32 member) {
  u32 lo = min(p.chunks, member * p.perBlock), hi = min(p.chunks, lo + p.perBlock);
  return (f64)(hi - lo) * V;
}

/// A block's part of a group.
struct Team {
  u32 group, member, lo, own;
  /// Barriers passed, for which half of the group's partial sums is free.
  u32 round;
  double2* partials;
  u32* counter;
};
__device__ __forceinline__ Team team(const Planar& p, double2* partials, u32* counters) {
  Team t;
  t.group = blockIdx.x / p.members;
  t.member = blockIdx.x - t.group * p.members;
  t.lo = min(p.chunks, t.member * p.perBlock);
  t.own = min(p.chunks, t.lo + p.perBlock) - t.lo;
  t.round = 0;
  t.partials = partials + (u64)t.group * p.members * 4;
  t.counter = counters + COUNTER_GROUPS + t.group * COUNTER_STRIDE;
  return t;
}
/// The part of the partial sums that the next barrier frees: two numbers of each member, and behind
/// them two more.
__device__ __forceinline__ double2* freePartials(const Planar& p, const Team& t) {
  return t.partials + (t.round % 2) * 2 * p.members;
}
/// The sum over a group's blocks of two numbers of each, in all threads. All threads of all blocks
/// call it.
__device__ __noinline__ double2 groupSum(const Planar& p, Team& t, double2 own, double2* shared) {
  own = warpSum(own);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  __syncthreads();
  double2 sum = make_double2(0, 0);
  for (u32 i = 0; i < THREADS / 32; i++) sum = make_double2(sum.x + shared[i].x, sum.y + shared[i].y);
  if (p.members == 1) return sum;
  double2* mine = freePartials(p, t);
  t.round++;
  if (threadIdx.x == 0) storeShared(mine + t.member, sum);
  groupBarrier(t.counter, p.members, t.member);
  sum = make_double2(0, 0);
  for (u32 i = 0; i < p.members; i++) {
    double2 other = loadShared(mine + i);
    sum = make_double2(sum.x + other.x, sum.y + other.y);
  }
  return sum;
}

// Forward.

/// Leaves the launch's counters as they were.
__device__ __forceinline__ bool isLastBlock(u32* counters) {
  bool last = arriveAndRead(counters + COUNTER_EXIT) == gridDim.x - 1;
  if (last) {
    storeShared(counters + COUNTER_EXIT, 0u);
    storeShared(counters + COUNTER_RESCUED, 0u);
  }
  return last;
}

/// Mean and mean square around it of a channel whose first sums were around a bad pivot or left the
/// range of their type: two passes over shared memory, in f64.
__device__ __noinline__ double2 carefulStatistics(
    const Planar& p, Team& t, const Chunk* kept, f64 given, f64 count, double2* shared) {
  f64 mean = given;
#if TRAIN
  double2 sum = make_double2(0, 0);
  for (u32 k = threadIdx.x; k < t.own; k += THREADS) {
    R v[V];
    unpack<T>(kept[k], v);
    for (int i = 0; i < V; i++) sum.x += v[i];
  }
  mean = groupSum(p, t, sum, shared).x / count;
#endif
  double2 squares = make_double2(0, 0);
  for (u32 k = threadIdx.x; k < t.own; k += THREADS) {
    R v[V];
    unpack<T>(kept[k], v);
    for (int i = 0; i < V; i++) {
      f64 d = v[i] - mean;
      squares.x += d;
      squares.y = fused(squares.y, d, d);
    }
  }
  squares = groupSum(p, t, squares, shared);
  f64 d = squares.x / count;
#if TRAIN
  return make_double2(movedMean(mean, d), notNegative(squares.y / count - d * d));
#else
  return make_double2(d, squares.y / count);
#endif
}

/// Gives a channel a row of the rescue and copies x there, before anything is overwritten. False
/// where there is no row.
__device__ __noinline__ bool keepAside(
    const Planar& p, const Team& t, const Rescue& rescue, const Chunk* kept, u32 channel,
    u32* counters) {
  if (t.member == 0 && threadIdx.x == 0) {
    i32 row = (i32)takeNumber(counters + COUNTER_RESCUED);
    i32 most = rescue.slots + (rescue.far ? rescue.farSlots : 0);
    if (row >= most) {
      storeShared(rescue.full, 1u);
      row = -2;
    }
    storeShared((u32*)rescue.rows + channel, (u32)row);
  }
  if (p.members == 1) __syncthreads();
  else groupBarrier(t.counter, p.members, t.member);
  i32 row = (i32)loadShared((u32*)rescue.rows + channel);
  if (row < 0) return false;
  Chunk* to = (Chunk*)rescueRow(rescue, row, (u64)p.chunks * V) + t.lo;
  for (u32 k = threadIdx.x; k < t.own; k += THREADS) to[k] = kept[k];
  return true;
}

extern "C" __global__ void __launch_bounds__(THREADS, PER)
    planarForward(const T* x_, T* z_, T* outer_, const R* scale, const R* bias, const R* slopes,
                  StatisticsPointers pointers, Rescue rescue, double2* partials, u32* counters,
                  Planar p, LayerNumbers numbers) {
  DYNAMIC_SHARED(Chunk, kept);
  __shared__ double2 shared[32];
  __shared__ ForwardNumbers result;
  float2* warpSums = (float2*)shared;
  const Chunk* x = (const Chunk*)x_;
  Chunk* z = (Chunk*)z_;
  Team t = team(p, partials, counters);
  u32 lane = threadIdx.x % 32;
  f64 count = (f64)p.chunks * V;
  for (u32 k = threadIdx.x; k < t.own; k += THREADS)
    copyAsync(kept + k, x + locate(p, t.lo + k, t.group));
  Chunk first = x[locate(p, t.own ? t.lo : 0, t.group)];
  ChannelParameters parameters = channelParameters(scale, bias, slopes, numbers.alpha, t.group);
  for (u32 c = t.group; c < p.channels; c += p.groups) {
    // Sums of the distance to a pivot, which with statistics of the batch is the mean of a few
    // elements of this block.
    R pivot = 0;
#if TRAIN
    {
      R v[V];
      unpack<T>(first, v);
      pivot = meanOfFew(v);
    }
#else
    pivot = pointers.movingMean[c];
#endif
    waitAsync();
    float2 s = make_float2(0, 0);
    for (u32 k = threadIdx.x; k < t.own; k += THREADS) {
      R v[V];
      unpack<T>(kept[k], v);
#pragma unroll
      for (int i = 0; i < V; i++) {
        R d = v[i] - pivot;
        s.x += d;
        s.y = fused(s.y, d, d);
      }
    }
    s = warpSum(s);
    if (lane == 0) warpSums[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x < 32) {
      s = warpSum(lane < THREADS / 32 ? warpSums[lane] : make_float2(0, 0));
      // Mean and squares around it of this block. NaN for what was lost: squares that are mostly the
      // pivot's distance, or left the range.
      f64 own = (f64)t.own * V, shift = own > 0 ? s.x / own : 0, squares = s.y - s.x * shift;
      bool isGood = s.y <= 8 * squares && (s.y >= 0x1p-100f * own || (s.x == 0 && s.y == 0));
#if !TRAIN
      isGood = s.y < 1e38f;
      squares = s.y;
#endif
      f64 mean = pivot + shift, total;
      if (!isGood && own > 0) squares = notANumber();
      if (p.members == 1) {
        total = squares;
      } else {
        double2* mine = freePartials(p, t);
        if (lane == 0) {
          storeShared(mine + t.member, make_double2(TRAIN ? mean : s.x, squares));
          waitAtBarrier(t.counter, arriveAtBarrier(t.counter, p.members, t.member));
        }
        __syncwarp();
        // The blocks' means around the first one's, by the formula of Chan et al.
        f64 origin = TRAIN ? loadShared(mine).x : 0;
        double2 sums = make_double2(0, 0);
        for (u32 i = lane; i < p.members; i += 32) {
          double2 other = loadShared(mine + i);
#if TRAIN
          f64 n = countOfMember(p, i), d = other.x - origin;
          if (n > 0) {
            sums.x += n * d;
            sums.y += other.y + n * d * d;
          }
#else
          sums.x += other.x;
          sums.y += other.y;
#endif
        }
        sums = warpSum(sums);
        shift = sums.x / count;
        mean = origin + shift;
        total = TRAIN ? sums.y - sums.x * shift : sums.y;
      }
      if (lane == 0) {
        if (total >= 0 || total < 0) {
          f64 square = fmax(0.0, total / count);
          result = forwardNumbers(pointers, numbers, parameters, c, p.channels, count,
                                  TRAIN ? mean : shift, square, square, t.member == 0);
        } else {
          result.redo = 1;
        }
      }
    }
    __syncthreads();
    if (p.members > 1) t.round++;
    if (result.redo) {
      Team own = t;  // Whose address a call takes is no register.
      double2 s = carefulStatistics(p, own, kept, pivot, count, shared);
      t.round = own.round;
      __syncthreads();
      if (threadIdx.x == 0)
        result = forwardNumbers(pointers, numbers, parameters, c, p.channels, count, s.x, s.y, s.y,
                                t.member == 0);
      __syncthreads();
    }
    R mean = result.mean, gain = result.gain, shift = result.shift, slope = result.slope;
    bool isWritten = true;
#if RESCUE
    if (result.lost) {
      Team own = t;
      isWritten = keepAside(p, own, rescue, kept, c, counters);
    }
    if (!result.lost && t.member == 0 && threadIdx.x == 0) rescue.rows[c] = -1;
#endif
    u32 next = c + p.groups;
    bool hasNext = next < p.channels;
    if (hasNext) {
      first = x[locate(p, t.own ? t.lo : 0, next)];
      parameters = channelParameters(scale, bias, slopes, numbers.alpha, next);
    }
    u64 step = (u64)p.groups * p.planeChunks;
    if (isWritten) {
      for (u32 k = threadIdx.x; k < t.own; k += THREADS) {
        u64 at = locate(p, t.lo + k, c);
        R v[V];
        unpack<T>(kept[k], v);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] = activate<ACT>(fused(shift, v[i] - mean, gain), slope);
        Chunk stored = pack<T>(v);
        storeStreaming(z + at, stored);
#if OUTER
        unpack<T>(stored, v);
#pragma unroll
        for (int i = 0; i < V; i++) v[i] = activate<OUTER>(v[i], (R)numbers.alpha);
        storeStreaming((Chunk*)outer_ + at, pack<T>(v));
#endif
        if (hasNext) copyAsync(kept + k, x + at + step);
      }
    } else if (hasNext) {
      for (u32 k = threadIdx.x; k < t.own; k += THREADS)
        copyAsync(kept + k, x + locate(p, t.lo + k, next));
    }
  }
#if RESCUE
  if (threadIdx.x == 0) isLastBlock(counters);
#endif
}

// Backward.

/// This thread's sums over its part of what is kept of a channel.
template <int WAY>
__device__ __forceinline__ Sums sumsOfBlock(
    const Chunk* kept, const Chunk* gradients, u32 own, const BackwardNumbers& n, R alpha) {
  Sums sums = {0, 0, 0};
  for (u32 k = threadIdx.x; k < own; k += THREADS) {
    R v[V], w[V];
    unpack<T>(kept[k], v);
    unpack<T>(gradients[k], w);
#pragma unroll
    for (int i = 0; i < V; i++) addPoint<WAY>(n, v[i], w[i], alpha, sums);
  }
  return sums;
}

/// Where a channel's elements are loaded from: z, x or a row of the rescue.
struct Source {
  const Chunk* base;
  bool isRow;
};
__device__ __forceinline__ Source sourceOf(
    const Planar& p, const Chunk* z, const Rescue& rescue, i32 row) {
#if RESCUE && !FROM_X
  if (row >= 0) {
    Source s = {(const Chunk*)rescueRow(rescue, row, (u64)p.chunks * V), true};
    return s;
  }
#endif
  Source s = {z, false};
  return s;
}

/// dx of a block's part of a channel, and the loads of its part of the next one.
template <int WAY>
__device__ __forceinline__ void writeBlock(
    const Planar& p, const Team& t, Chunk* kept, Chunk* gradients, const BackwardNumbers& n,
    R alpha, u32 c, bool hasNext, const Source& source, const Chunk* dz, Chunk* dx) {
  u64 step = (u64)p.groups * p.planeChunks;
  for (u32 k = threadIdx.x; k < t.own; k += THREADS) {
    u64 at = locate(p, t.lo + k, c);
    R v[V], w[V];
    unpack<T>(kept[k], v);
    unpack<T>(gradients[k], w);
#pragma unroll
    for (int i = 0; i < V; i++) w[i] = gradientOfX<WAY>(n, v[i], w[i], alpha);
    storeStreaming(dx + at, pack<T>(w));
    if (hasNext) {
      copyAsync(kept + k, source.base + (source.isRow ? (u64)(t.lo + k) : at + step));
      copyAsync(gradients + k, dz + at + step);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, PER)
    planarBackward(const T* kept_, const T* dz_, T* dx_, const R* scale, const R* bias,
                   const R* slopes, const R* saved, Rescue rescue, ParameterGradients gradients,
                   R* slopeGradient, double2* partials, u32* counters, Planar p,
                   LayerNumbers numbers) {
  DYNAMIC_SHARED(Chunk, kept);
  __shared__ Sums warpSums[32];
  __shared__ BackwardNumbers result;
  const Chunk* z = (const Chunk*)kept_;
  const Chunk* dz = (const Chunk*)dz_;
  Chunk* dx = (Chunk*)dx_;
  Chunk* keptDz = kept + p.perBlock;
  Team t = team(p, partials, counters);
  u32 lane = threadIdx.x % 32;
  f64 count = (f64)p.chunks * V;
  R alpha = (R)numbers.alpha;
  ChannelState state =
      channelState(scale, bias, slopes, saved, rescue.rows, numbers.alpha, t.group, p.channels);
  {
    Source source = sourceOf(p, z, rescue, state.row);
    for (u32 k = threadIdx.x; k < t.own; k += THREADS) {
      u64 at = locate(p, t.lo + k, t.group);
      copyAsync(kept + k, source.base + (source.isRow ? (u64)(t.lo + k) : at));
      copyAsync(keptDz + k, dz + at);
    }
  }
  for (u32 c = t.group; c < p.channels; c += p.groups) {
    int way = FROM_X || state.row >= 0 ? INPUT
        : isDirect(state, numbers.epsilon, count) ? DIRECT
                                                  : CAREFUL;
    BackwardNumbers n = backwardNumbers(state);
    waitAsync();
    Sums s = {0, 0, 0};
#if !FROM_X
    if (way == CAREFUL) s = sumsOfBlock<CAREFUL>(kept, keptDz, t.own, n, alpha);
#if TRAIN && !OUTER && ACT != ELU
    if (way == DIRECT) s = sumsOfBlock<DIRECT>(kept, keptDz, t.own, n, alpha);
#endif
#endif
#if FROM_X || RESCUE
    if (way == INPUT) s = sumsOfBlock<INPUT>(kept, keptDz, t.own, n, alpha);
#endif
    s.dy = warpSum(s.dy);
    s.distance = warpSum(s.distance);
#if ACT == PRELU
    s.slope = warpSum(s.slope);
#endif
    if (lane == 0) warpSums[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x < 32) {
      Sums zero = {0, 0, 0};
      s = lane < THREADS / 32 ? warpSums[lane] : zero;
      double2 sums = warpSum(make_double2(s.dy, s.distance));
      f64 slope = ACT == PRELU ? warpSum((f64)s.slope) : 0;
      if (p.members > 1) {
        double2* mine = freePartials(p, t);
        if (lane == 0) {
          storeShared(mine + t.member, sums);
          if (ACT == PRELU) storeShared(&mine[p.members + t.member].x, slope);
          waitAtBarrier(t.counter, arriveAtBarrier(t.counter, p.members, t.member));
        }
        __syncwarp();
        sums = make_double2(0, 0);
        slope = 0;
        for (u32 i = lane; i < p.members; i += 32) {
          double2 other = loadShared(mine + i);
          sums.x += other.x;
          sums.y += other.y;
          if (ACT == PRELU) slope += loadShared(&mine[p.members + i].x);
        }
        sums = warpSum(sums);
        if (ACT == PRELU) slope = warpSum(slope);
      }
      if (lane == 0) {
        finishSums(n, state, way, sums.x, sums.y, count, gradients, c, t.member == 0);
        if (ACT == PRELU && t.member == 0)
          gradients.slopeShares[c] = way == DIRECT ? slope / state.slope : slope;
        result = n;
      }
    }
    __syncthreads();
    if (p.members > 1) t.round++;
    n.dyFactor = result.dyFactor;
    n.offset = result.offset;
    n.distanceFactor = result.distanceFactor;
    n.bentDy = result.bentDy;
    n.bentDistance = result.bentDistance;
    u32 next = c + p.groups;
    bool hasNext = next < p.channels;
    if (hasNext)
      state =
          channelState(scale, bias, slopes, saved, rescue.rows, numbers.alpha, next, p.channels);
    Source source = sourceOf(p, z, rescue, state.row);
#if !FROM_X
    if (way == CAREFUL)
      writeBlock<CAREFUL>(p, t, kept, keptDz, n, alpha, c, hasNext, source, dz, dx);
#if TRAIN && !OUTER && ACT != ELU
    if (way == DIRECT)
      writeBlock<DIRECT>(p, t, kept, keptDz, n, alpha, c, hasNext, source, dz, dx);
#endif
#endif
#if FROM_X || RESCUE
    if (way == INPUT)
      writeBlock<INPUT>(p, t, kept, keptDz, n, alpha, c, hasNext, source, dz, dx);
#endif
  }
#if ACT == PRELU
  // The block that is last has the other blocks' shares behind it.
  __shared__ bool isLast;
  __syncthreads();
  if (threadIdx.x == 0) isLast = isLastBlock(counters);
  __syncthreads();
  if (isLast && threadIdx.x < 32) {
    f64 total = 0;
    for (u32 c = lane; c < p.channels; c += 32) total += loadShared(gradients.slopeShares + c);
    total = warpSum(total);
    if (lane == 0) slopeGradient[0] = (R)total;
  }
#endif
}
