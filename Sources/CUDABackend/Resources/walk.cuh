// How kernels walk over shapes. With -DWIDE for 2^31 elements and more.
#ifdef WIDE
typedef u64 Index;
#else
typedef u32 Index;
#endif

/// A number that many others are divided by.
struct Divisor {
  u64 number;
  u32 multiplier, shift;
};

/// n / d. Narrow: Granlund and Montgomery, "Division by invariant integers using multiplication"
/// (1994), for n below 2^31, where the sum does not overflow.
__device__ __forceinline__ Index quotient(Index n, const Divisor& d) {
#ifdef WIDE
  return n / d.number;
#else
  return ((u32)((u64)n * d.multiplier >> 32) + n) >> d.shift;
#endif
}

/// Takes the position along the innermost dimension out of n.
__device__ __forceinline__ Index takeRemainder(Index& n, const Divisor& size) {
  Index rest = quotient(n, size), own = n - rest * (Index)size.number;
  n = rest;
  return own;
}

/// A loop nest with two operands: sizes and strides, innermost first.
struct Nest {
  u64 rank;
  Divisor size[12];
  i64 first[12], second[12];
};

/// Where both operands stand in step n of the nest.
__device__ __forceinline__ void offsets(Index n, const Nest& nest, i64& first, i64& second) {
  first = second = 0;
  u32 last = (u32)nest.rank - 1;
  for (u32 axis = 0; axis < last; axis++) {
    Index at = takeRemainder(n, nest.size[axis]);
    first += (i64)at * nest.first[axis];
    second += (i64)at * nest.second[axis];
  }
  first += (i64)n * nest.first[last];
  second += (i64)n * nest.second[last];
}
