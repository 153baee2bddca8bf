// What generated kernels over the elements of arrays are made of (FlatFormula.swift).

typedef signed char i8;
/// A byte that is 0 or 1.
struct boolean { u8 bits; };

/// V neighbours of an array, as they stand in memory: loads and stores of up to 16 bytes.
template <typename T, int V> struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Group {
  T e[V];
};

/// Group at element `at`; where not all of it is to be loaded at once, its first `left` elements.
template <int V, typename T>
__device__ __forceinline__ Group<T, V> loadGroup(const T* p, i64 at, bool isWhole, i64 left) {
  if (isWhole) return *reinterpret_cast<const Group<T, V>*>(p + at);
  Group<T, V> group;
#pragma unroll
  for (int v = 0; v < V; v++) group.e[v] = v < left ? p[at + v] : T();
  return group;
}

template <int V, typename T>
__device__ __forceinline__ void storeGroup(
    T* p, i64 at, bool isWhole, i64 left, const Group<T, V>& group) {
  if (isWhole) {
    *reinterpret_cast<Group<T, V>*>(p + at) = group;
    return;
  }
#pragma unroll
  for (int v = 0; v < V; v++)
    if (v < left) p[at + v] = group.e[v];
}

/// One element in all places.
template <int V, typename T> __device__ __forceinline__ Group<T, V> spread(T element) {
  Group<T, V> group;
#pragma unroll
  for (int v = 0; v < V; v++) group.e[v] = element;
  return group;
}

/// Whether 16 bytes can be loaded from there.
__device__ __forceinline__ bool isAligned(const void* p) { return ((u64)p & 15) == 0; }

// An element as a number, and a number as an element.

__device__ __forceinline__ f32 value(f32 x) { return x; }
__device__ __forceinline__ f64 value(f64 x) { return x; }
__device__ __forceinline__ f32 value(bf16 x) { return real(x); }
__device__ __forceinline__ f32 value(f16 x) { return real(x); }
__device__ __forceinline__ f64 value(boolean x) { return x.bits ? 1.0 : 0.0; }
template <typename T> __device__ __forceinline__ f64 value(T x) { return (f64)x; }

/// Integers are cut off towards zero and clamped; NaN gives 0.
template <typename T> struct Stored {
  static constexpr bool isSigned = T(-1) < T(0);
  static constexpr T most = isSigned ? T((1ull << (8 * sizeof(T) - 1)) - 1) : T(-1);
  static constexpr T least = isSigned ? T(-most - 1) : T(0);
  static __device__ __forceinline__ T element(f64 x) {
    return x != x ? T(0) : x <= (f64)least ? least : x >= (f64)most ? most : (T)x;
  }
};
template <> struct Stored<boolean> {
  static __device__ __forceinline__ boolean element(f64 x) {
    boolean result = {(u8)(x != 0.0)};
    return result;
  }
};
template <> struct Stored<f32> {
  template <typename Num> static __device__ __forceinline__ f32 element(Num x) {
    return cast<f32>(x);
  }
};
template <> struct Stored<f64> {
  template <typename Num> static __device__ __forceinline__ f64 element(Num x) {
    return cast<f64>(x);
  }
};
template <> struct Stored<bf16> {
  template <typename Num> static __device__ __forceinline__ bf16 element(Num x) {
    return cast<bf16>(x);
  }
};
template <> struct Stored<f16> {
  template <typename Num> static __device__ __forceinline__ f16 element(Num x) {
    return cast<f16>(x);
  }
};
