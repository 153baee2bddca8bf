// BEGIN device.cuh
// What kernels say to a GPU and a processor does not know, and the types that they share. Kernels are
// plain C++17 otherwise: compiled behind Tests/CUDAEmulation/cuda_on_cpu.h, which has these names
// too, they run on a processor.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
typedef float f32;
typedef double f64;

/// Element types of 16 bits, as bits; computed with as f32.
struct bf16 { u16 bits; };
struct f16 { u16 bits; };

/// What a load or a store of a thread moves best.
struct __align__(16) Chunk { u32 w[4]; };

/// The type that elements of T are computed with.
template <typename T> struct RealOf { typedef f32 type; };
template <> struct RealOf<f64> { typedef f64 type; };
template <typename T> using Real = typename RealOf<T>::type;

/// Elements of T in a chunk.
template <typename T> constexpr int VEC = 16 / sizeof(T);

/// Shared memory whose size the launch gives.
#define DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char dynamicShared[];  \
  T* name = reinterpret_cast<T*>(dynamicShared)

// Conversions. To 16 bits they round to nearest even; what is too large becomes infinity.

__device__ __forceinline__ f32 real(f32 x) { return x; }
__device__ __forceinline__ f64 real(f64 x) { return x; }
__device__ __forceinline__ f32 real(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ f32 real(f16 x) {
  f32 value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
}

/// Two elements in a word, the first in the low half.
__device__ __forceinline__ u32 packBF16(f32 low, f32 high) {
  u32 word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ __forceinline__ u32 packF16(f32 low, f32 high) {
  u32 word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

template <typename T> struct Caster;
template <> struct Caster<f32> {
  static __device__ __forceinline__ f32 cast(f32 x) { return x; }
  static __device__ __forceinline__ f32 cast(f64 x) { return __double2float_rn(x); }
};
template <> struct Caster<f64> {
  static __device__ __forceinline__ f64 cast(f32 x) { return x; }
  static __device__ __forceinline__ f64 cast(f64 x) { return x; }
};
/// A double as a float that keeps, in its last bit, that digits were cut off: rounded once more, to
/// fewer bits, it gives what rounding the double gives.
__device__ __forceinline__ f32 roundedToOdd(f64 x) {
  f32 cut = __double2float_rz(x);
  return (f64)cut == x || x != x ? cut : __uint_as_float(__float_as_uint(cut) | 1u);
}
template <> struct Caster<bf16> {
  static __device__ __forceinline__ bf16 cast(f32 x) {
    bf16 result = {(u16)packBF16(x, 0.0f)};
    return result;
  }
  static __device__ __forceinline__ bf16 cast(f64 x) { return cast(roundedToOdd(x)); }
};
template <> struct Caster<f16> {
  static __device__ __forceinline__ f16 cast(f32 x) {
    f16 result = {(u16)packF16(x, 0.0f)};
    return result;
  }
  static __device__ __forceinline__ f16 cast(f64 x) { return cast(roundedToOdd(x)); }
};

/// A number as an element of T.
template <typename T, typename V> __device__ __forceinline__ T cast(V x) { return Caster<T>::cast(x); }

// The elements of a chunk.

template <typename T> struct Packer;
template <> struct Packer<f32> {
  static __device__ __forceinline__ void unpack(const Chunk& c, f32 (&v)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = __uint_as_float(c.w[i]);
  }
  static __device__ __forceinline__ Chunk pack(const f32 (&v)[4]) {
    Chunk c;
#pragma unroll
    for (int i = 0; i < 4; i++) c.w[i] = __float_as_uint(v[i]);
    return c;
  }
};
template <> struct Packer<f64> {
  static __device__ __forceinline__ void unpack(const Chunk& c, f64 (&v)[2]) {
#pragma unroll
    for (int i = 0; i < 2; i++)
      v[i] = __longlong_as_double((i64)((u64)c.w[2 * i] | (u64)c.w[2 * i + 1] << 32));
  }
  static __device__ __forceinline__ Chunk pack(const f64 (&v)[2]) {
    Chunk c;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      u64 bits = (u64)__double_as_longlong(v[i]);
      c.w[2 * i] = (u32)bits;
      c.w[2 * i + 1] = (u32)(bits >> 32);
    }
    return c;
  }
};
template <> struct Packer<bf16> {
  static __device__ __forceinline__ void unpack(const Chunk& c, f32 (&v)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      v[2 * i] = __uint_as_float(c.w[i] << 16);
      v[2 * i + 1] = __uint_as_float(c.w[i] & 0xffff0000u);
    }
  }
  static __device__ __forceinline__ Chunk pack(const f32 (&v)[8]) {
    Chunk c;
#pragma unroll
    for (int i = 0; i < 4; i++) c.w[i] = packBF16(v[2 * i], v[2 * i + 1]);
    return c;
  }
};
template <> struct Packer<f16> {
  static __device__ __forceinline__ void unpack(const Chunk& c, f32 (&v)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      f16 low = {(u16)c.w[i]}, high = {(u16)(c.w[i] >> 16)};
      v[2 * i] = real(low);
      v[2 * i + 1] = real(high);
    }
  }
  static __device__ __forceinline__ Chunk pack(const f32 (&v)[8]) {
    Chunk c;
#pragma unroll
    for (int i = 0; i < 4; i++) c.w[i] = packF16(v[2 * i], v[2 * i + 1]);
    return c;
  }
};
template <typename T>
__device__ __forceinline__ void unpack(const Chunk& c, Real<T> (&v)[VEC<T>]) { Packer<T>::unpack(c, v); }
template <typename T>
__device__ __forceinline__ Chunk pack(const Real<T> (&v)[VEC<T>]) { return Packer<T>::pack(v); }

// Copies from memory into shared memory that go on while the thread does something else.

/// Starts a copy of 16 bytes, aligned on both sides.
__device__ __forceinline__ void copyAsync(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   (u32)__cvta_generic_to_shared(shared)),
               "l"(global)
               : "memory");
}
/// Ends a group of copies: those that this thread has started since the last group.
__device__ __forceinline__ void commitAsync() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until no more than the last `pending` groups of this thread are on their way.
template <int pending> __device__ __forceinline__ void waitAsyncGroups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
/// Waits for all copies of this thread. Other threads see them behind the next __syncthreads().
__device__ __forceinline__ void waitAsync() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Loads and stores that say how soon memory is used again.

/// 16 bytes that nobody reads soon.
__device__ __forceinline__ void storeStreaming(void* p, Chunk c) {
  asm volatile("st.global.cs.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(c.w[0]), "r"(c.w[1]),
               "r"(c.w[2]), "r"(c.w[3])
               : "memory");
}
/// 16 bytes that this kernel does not read again.
__device__ __forceinline__ Chunk loadStreaming(const void* p) {
  Chunk c;
  asm volatile("ld.global.cs.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(c.w[0]), "=r"(c.w[1]), "=r"(c.w[2]), "=r"(c.w[3])
               : "l"(p)
               : "memory");
  return c;
}

// Between blocks: stores and loads that pass the multiprocessor's own cache by, so that one block
// sees what another has stored before arriving at a counter.

__device__ __forceinline__ void storeShared(f32* p, f32 v) {
  asm volatile("st.global.cg.f32 [%0], %1;" ::"l"(p), "f"(v) : "memory");
}
__device__ __forceinline__ void storeShared(f64* p, f64 v) {
  asm volatile("st.global.cg.f64 [%0], %1;" ::"l"(p), "d"(v) : "memory");
}
__device__ __forceinline__ void storeShared(float2* p, float2 v) {
  asm volatile("st.global.cg.v2.f32 [%0], {%1,%2};" ::"l"(p), "f"(v.x), "f"(v.y) : "memory");
}
__device__ __forceinline__ void storeShared(double2* p, double2 v) {
  asm volatile("st.global.cg.v2.f64 [%0], {%1,%2};" ::"l"(p), "d"(v.x), "d"(v.y) : "memory");
}
__device__ __forceinline__ void storeShared(u32* p, u32 v) {
  asm volatile("st.global.cg.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ f32 loadShared(const f32* p) {
  f32 v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ f64 loadShared(const f64* p) {
  f64 v;
  asm volatile("ld.global.cg.f64 %0, [%1];" : "=d"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ float2 loadShared(const float2* p) {
  float2 v;
  asm volatile("ld.global.cg.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ double2 loadShared(const double2* p) {
  double2 v;
  asm volatile("ld.global.cg.v2.f64 {%0,%1}, [%2];" : "=d"(v.x), "=d"(v.y) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ u32 loadShared(const u32* p) {
  u32 v;
  asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}

/// Adds to a counter, behind all stores that this thread has made or has seen behind a barrier.
__device__ __forceinline__ void arrive(u32* counter, u32 by = 1) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(counter), "r"(by) : "memory");
}
/// The same, and what the counter held before; loads behind it see what others stored before they
/// added.
__device__ __forceinline__ u32 arriveAndRead(u32* counter, u32 by = 1) {
  u32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(counter), "r"(by)
               : "memory");
  return before;
}
/// Reads a counter, before all loads that follow.
__device__ __forceinline__ u32 acquire(const u32* counter) {
  u32 v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(counter) : "memory");
  return v;
}
/// The next number of a counter that hands out work; its order is that of arrival, so that nothing
/// but who does what may hang on it.
__device__ __forceinline__ u32 takeNumber(u32* counter) { return atomicAdd(counter, 1u); }

/// Waits until all `members` blocks of a group are here; all threads of all of them call it, and the
/// blocks must all be resident. What was stored before it, by `storeShared` or as elements that no
/// block has loaded yet, is seen behind it.
///
/// The counter is 0 before the first launch and is never set back: every barrier adds 2^31 in all (the
/// first member what the others leave to it), so that its highest bit, which all wait for, turns over
/// whatever it was before. A launch that does not run to its end spoils it.
__device__ __forceinline__ void groupBarrier(u32* counter, u32 members, u32 member) {
  __syncthreads();
  if (threadIdx.x == 0) {
    u32 before = arriveAndRead(counter, member == 0 ? 0x80000000u - (members - 1) : 1u);
    while (((acquire(counter) ^ before) & 0x80000000u) == 0) {}
  }
  __syncthreads();
}
// END device.cuh
