// Runs CUDA kernels on a processor, for tests: stands in place of Sources/CUDABackend/Resources/device.cuh
// and has the same names. emulator.cpp says how; it includes no header, so that kernels compile quickly
// and may be called anything.
#pragma once

#define EMULATION_TEXT(...) #__VA_ARGS__
#define EMULATION_EXPANDED(...) EMULATION_TEXT(__VA_ARGS__)
// The annotations are how nvrtc.cpp finds kernels in preprocessed text.
#define __global__ __attribute__((annotate("kernel")))
#define __launch_bounds__(...) __attribute__((annotate("bounds " EMULATION_EXPANDED(__VA_ARGS__))))
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __align__(n) alignas(n)
/// A block is a thread of the system. Filled with 0xFF when a block starts.
#define __shared__ static thread_local
#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(emulationBlock->shared)
#define __CUDA_ARCH__ 900

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
typedef float f32;
typedef double f64;
typedef unsigned int uint;

struct bf16 { u16 bits; };
struct f16 { u16 bits; };
struct __align__(16) Chunk { u32 w[4]; };

struct uint3 { u32 x, y, z; };
struct __align__(8) int2 { int x, y; };
struct __align__(16) int4 { int x, y, z, w; };
struct __align__(8) uint2 { u32 x, y; };
struct __align__(16) uint4 { u32 x, y, z, w; };
struct __align__(8) float2 { float x, y; };
struct __align__(16) float4 { float x, y, z, w; };
struct __align__(16) double2 { double x, y; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// What emulator.cpp does for a kernel.

/// The block that this thread of the system runs.
struct EmulatedBlock {
  uint3 thread, index, dimension, grid;
  u8* shared;
};
extern "C" {
extern thread_local EmulatedBlock* emulationBlock __attribute__((tls_model("initial-exec")));
/// __syncthreads(), and for how many threads the condition held.
int emulationBarrier(int condition);
/// The values of two lanes of a warp change hands: gives that of lane `source`, its own if negative.
u64 emulationExchange(u32 mask, u64 value, int source);
u32 emulationBallot(u32 mask, int condition);
/// Lets other threads and blocks run, in a loop that waits for one of them.
void emulationWait();
/// Says that what others may be waiting for has changed.
void emulationProgress();
void emulationCopyAsync(void* shared, const void* global);
void emulationCommitAsync();
void emulationWaitAsync(int pendingGroups);
[[noreturn]] void emulationTrap(const char* what);
}
#define threadIdx (emulationBlock->thread)
#define blockIdx (emulationBlock->index)
#define blockDim (emulationBlock->dimension)
#define gridDim (emulationBlock->grid)
#define warpSize 32
inline void __trap() { emulationTrap("__trap()"); }
#define assert(condition) ((condition) ? (void)0 : emulationTrap("assertion " #condition))

// Barriers and warps.

inline void __syncthreads() { emulationBarrier(0); }
inline int __syncthreads_count(int p) { return emulationBarrier(p != 0); }
inline int __syncthreads_or(int p) { return emulationBarrier(p != 0) != 0; }
inline int __syncthreads_and(int p) { return emulationBarrier(p == 0) == 0; }
inline u32 emulationLane() {
  const EmulatedBlock& b = *emulationBlock;
  return (b.thread.x + b.dimension.x * (b.thread.y + b.dimension.y * b.thread.z)) % 32;
}
inline void __syncwarp(u32 mask = 0xffffffffu) { emulationExchange(mask, 0, -1); }
inline u32 __ballot_sync(u32 mask, int p) { return emulationBallot(mask, p != 0); }
inline int __any_sync(u32 mask, int p) { return emulationBallot(mask, p != 0) != 0; }
inline int __all_sync(u32 mask, int p) { return emulationBallot(mask, p == 0) == 0; }
template <typename V> inline V emulationShuffle(u32 mask, V value, int source) {
  u64 bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = emulationExchange(mask, bits, source);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
template <typename V> inline V __shfl_sync(u32 mask, V v, int source, int width = 32) {
  int lane = (int)emulationLane();
  return emulationShuffle(mask, v, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <typename V> inline V __shfl_xor_sync(u32 mask, V v, int distance, int width = 32) {
  int lane = (int)emulationLane(), source = lane ^ distance;
  return emulationShuffle(mask, v, source / width > lane / width ? -1 : source);
}
template <typename V> inline V __shfl_down_sync(u32 mask, V v, u32 distance, int width = 32) {
  int lane = (int)emulationLane();
  return emulationShuffle(
      mask, v, lane % width + (int)distance < width ? lane + (int)distance : -1);
}
template <typename V> inline V __shfl_up_sync(u32 mask, V v, u32 distance, int width = 32) {
  int lane = (int)emulationLane();
  return emulationShuffle(mask, v, lane % width >= (int)distance ? lane - (int)distance : -1);
}
inline u32 __reduce_add_sync(u32 mask, u32 v) {
  u32 total = 0;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) total += emulationShuffle(mask, v, lane);
  return total;
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __nanosleep(u32) { emulationWait(); }

// Atomic operations, on memory of both kinds.

template <typename V, typename F> inline V emulationAtomic(V* p, F change) {
  V before, after;
  __atomic_load(p, &before, __ATOMIC_RELAXED);
  do after = change(before);
  while (!__atomic_compare_exchange(p, &before, &after, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
  emulationProgress();
  return before;
}
template <typename V> struct EmulatedSame { typedef V type; };
template <typename V> using EmulatedValue = typename EmulatedSame<V>::type;
template <typename V> inline V atomicAdd(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return (V)(old + v); });
}
template <typename V> inline V atomicSub(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return (V)(old - v); });
}
template <typename V> inline V atomicMax(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return old < v ? v : old; });
}
template <typename V> inline V atomicMin(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return v < old ? v : old; });
}
template <typename V> inline V atomicAnd(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return (V)(old & v); });
}
template <typename V> inline V atomicOr(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return (V)(old | v); });
}
template <typename V> inline V atomicXor(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V old) { return (V)(old ^ v); });
}
template <typename V> inline V atomicExch(V* p, EmulatedValue<V> v) {
  return emulationAtomic(p, [=](V) { return v; });
}
inline u32 atomicInc(u32* p, u32 most) {
  return emulationAtomic(p, [=](u32 old) { return old >= most ? 0 : old + 1; });
}
template <typename V>
inline V atomicCAS(V* p, EmulatedValue<V> expected, EmulatedValue<V> desired) {
  V before = expected;
  if (__atomic_compare_exchange(p, &before, &desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    emulationProgress();
    return before;
  }
  emulationWait();  // whoever tries again must let the others run
  return before;
}

// Functions that NVRTC knows without a header.

inline f32 __uint_as_float(u32 u) { f32 f; __builtin_memcpy(&f, &u, 4); return f; }
inline u32 __float_as_uint(f32 f) { u32 u; __builtin_memcpy(&u, &f, 4); return u; }
inline f32 __int_as_float(int u) { f32 f; __builtin_memcpy(&f, &u, 4); return f; }
inline int __float_as_int(f32 f) { int u; __builtin_memcpy(&u, &f, 4); return u; }
inline f64 __longlong_as_double(i64 u) { f64 f; __builtin_memcpy(&f, &u, 8); return f; }
inline i64 __double_as_longlong(f64 f) { i64 u; __builtin_memcpy(&u, &f, 8); return u; }
inline f32 __double2float_rn(f64 x) { return (f32)x; }
/// Rounded towards zero.
inline f32 __double2float_rz(f64 x) {
  f32 near = (f32)x;
  if (x != x || (f64)near == x || __builtin_fabs((f64)near) < __builtin_fabs(x)) return near;
  return __uint_as_float(__float_as_uint(near) - 1);
}
inline int __float2int_rn(f32 x) { return (int)__builtin_rintf(x); }
inline int __float2int_rd(f32 x) { return (int)__builtin_floorf(x); }
inline int __double2int_rn(f64 x) { return (int)__builtin_rint(x); }
inline i64 __double2ll_rn(f64 x) { return (i64)__builtin_rint(x); }
inline f32 __fmaf_rn(f32 a, f32 b, f32 c) { return __builtin_fmaf(a, b, c); }
inline f64 __fma_rn(f64 a, f64 b, f64 c) { return __builtin_fma(a, b, c); }
// Products and sums that are not made one operation: what the processor does here anyway.
inline f32 __fadd_rn(f32 a, f32 b) { return a + b; }
inline f32 __fsub_rn(f32 a, f32 b) { return a - b; }
inline f32 __fmul_rn(f32 a, f32 b) { return a * b; }
inline f32 __fdiv_rn(f32 a, f32 b) { return a / b; }
inline f32 __fsqrt_rn(f32 a) { return __builtin_sqrtf(a); }
inline f32 __frcp_rn(f32 a) { return 1.0f / a; }
inline f64 __dadd_rn(f64 a, f64 b) { return a + b; }
inline f64 __dsub_rn(f64 a, f64 b) { return a - b; }
inline f64 __dmul_rn(f64 a, f64 b) { return a * b; }
inline f64 __ddiv_rn(f64 a, f64 b) { return a / b; }
inline f64 __dsqrt_rn(f64 a) { return __builtin_sqrt(a); }
inline u32 __umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
inline int __mulhi(int a, int b) { return (int)((i64)a * b >> 32); }
inline u64 __umul64hi(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
inline int __popc(u32 x) { return __builtin_popcount(x); }
inline int __popcll(u64 x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz((u32)x) : 32; }
inline int __clzll(i64 x) { return x ? __builtin_clzll((u64)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(i64 x) { return __builtin_ffsll(x); }
inline u32 __brev(u32 x) { return __builtin_bitreverse32(x); }
inline u32 __byte_perm(u32 a, u32 b, u32 selector) {
  u64 both = (u64)b << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; i++)
    result |= (u32)(both >> ((selector >> (4 * i) & 7) * 8) & 0xff) << (8 * i);
  return result;
}
inline u32 __funnelshift_l(u32 low, u32 high, u32 by) {
  return (u32)(((u64)high << 32 | low) << (by & 31) >> 32);
}
inline u32 __funnelshift_r(u32 low, u32 high, u32 by) {
  return (u32)(((u64)high << 32 | low) >> (by & 31));
}
template <typename V> inline V __ldg(const V* p) { return *p; }
template <typename V> inline V __ldcg(const V* p) { return *p; }
template <typename V> inline V __ldcs(const V* p) { return *p; }

#define EMULATION_FUNCTION1(name)                            \
  inline f32 name##f(f32 x) { return __builtin_##name##f(x); } \
  inline f32 name(f32 x) { return __builtin_##name##f(x); }    \
  inline f64 name(f64 x) { return __builtin_##name(x); }
#define EMULATION_FUNCTION2(name)                                            \
  inline f32 name##f(f32 x, f32 y) { return __builtin_##name##f(x, y); }       \
  inline f32 name(f32 x, f32 y) { return __builtin_##name##f(x, y); }          \
  inline f64 name(f64 x, f64 y) { return __builtin_##name(x, y); }
EMULATION_FUNCTION1(exp)
EMULATION_FUNCTION1(exp2)
EMULATION_FUNCTION1(expm1)
EMULATION_FUNCTION1(log)
EMULATION_FUNCTION1(log2)
EMULATION_FUNCTION1(log10)
EMULATION_FUNCTION1(log1p)
EMULATION_FUNCTION1(sin)
EMULATION_FUNCTION1(cos)
EMULATION_FUNCTION1(tan)
EMULATION_FUNCTION1(atan)
EMULATION_FUNCTION1(sinh)
EMULATION_FUNCTION1(cosh)
EMULATION_FUNCTION1(tanh)
EMULATION_FUNCTION1(erf)
EMULATION_FUNCTION1(erfc)
EMULATION_FUNCTION1(sqrt)
EMULATION_FUNCTION1(cbrt)
EMULATION_FUNCTION1(fabs)
EMULATION_FUNCTION1(floor)
EMULATION_FUNCTION1(ceil)
EMULATION_FUNCTION1(trunc)
EMULATION_FUNCTION1(round)
EMULATION_FUNCTION1(rint)
EMULATION_FUNCTION1(nearbyint)
EMULATION_FUNCTION2(pow)
EMULATION_FUNCTION2(fmod)
EMULATION_FUNCTION2(atan2)
EMULATION_FUNCTION2(copysign)
EMULATION_FUNCTION2(hypot)
EMULATION_FUNCTION2(fmin)
EMULATION_FUNCTION2(fmax)
inline f32 fmaf(f32 a, f32 b, f32 c) { return __builtin_fmaf(a, b, c); }
inline f32 fma(f32 a, f32 b, f32 c) { return __builtin_fmaf(a, b, c); }
inline f64 fma(f64 a, f64 b, f64 c) { return __builtin_fma(a, b, c); }
inline f32 ldexpf(f32 x, int e) { return __builtin_ldexpf(x, e); }
inline f64 ldexp(f64 x, int e) { return __builtin_ldexp(x, e); }
inline f32 rsqrtf(f32 x) { return (f32)(1.0 / __builtin_sqrt((f64)x)); }
inline f32 rsqrt(f32 x) { return rsqrtf(x); }
inline f64 rsqrt(f64 x) { return 1.0 / __builtin_sqrt(x); }
inline f32 abs(f32 x) { return __builtin_fabsf(x); }
inline f64 abs(f64 x) { return __builtin_fabs(x); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline i64 abs(i64 x) { return x < 0 ? -x : x; }
inline i64 llrint(f64 x) { return __builtin_llrint(x); }
inline bool isnan(f32 x) { return __builtin_isnan(x); }
inline bool isnan(f64 x) { return __builtin_isnan(x); }
inline bool isinf(f32 x) { return __builtin_isinf(x); }
inline bool isinf(f64 x) { return __builtin_isinf(x); }
inline bool isfinite(f32 x) { return __builtin_isfinite(x); }
inline bool isfinite(f64 x) { return __builtin_isfinite(x); }
inline bool signbit(f32 x) { return __builtin_signbit(x); }
inline bool signbit(f64 x) { return __builtin_signbit(x); }
#define EMULATION_LEAST(V)                             \
  inline V min(V a, V b) { return b < a ? b : a; }     \
  inline V max(V a, V b) { return a < b ? b : a; }
EMULATION_LEAST(int)
EMULATION_LEAST(u32)
EMULATION_LEAST(long)
EMULATION_LEAST(unsigned long)
EMULATION_LEAST(i64)
EMULATION_LEAST(u64)
inline u32 min(int a, u32 b) { return min((u32)a, b); }
inline u32 min(u32 a, int b) { return min(a, (u32)b); }
inline u32 max(int a, u32 b) { return max((u32)a, b); }
inline u32 max(u32 a, int b) { return max(a, (u32)b); }
// CUDA's give the number where one is not a number.
inline f32 min(f32 a, f32 b) { return fminf(a, b); }
inline f32 max(f32 a, f32 b) { return fmaxf(a, b); }
inline f64 min(f64 a, f64 b) { return fmin(a, b); }
inline f64 max(f64 a, f64 b) { return fmax(a, b); }

// From here on the names of device.cuh.

template <typename T> struct RealOf { typedef f32 type; };
template <> struct RealOf<f64> { typedef f64 type; };
template <typename T> using Real = typename RealOf<T>::type;
template <typename T> constexpr int VEC = 16 / sizeof(T);

inline f32 real(f32 x) { return x; }
inline f64 real(f64 x) { return x; }
inline f32 real(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
inline f32 real(f16 x) {
  u32 sign = (u32)(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
  if (exponent == 31) {
    // What is not a number becomes a quiet one.
    return __uint_as_float(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0));
  }
  if (exponent == 0) {
    f32 magnitude = (f32)fraction * 0x1p-24f;
    return __uint_as_float(sign | __float_as_uint(magnitude));
  }
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

inline u16 emulationRoundedToBF16(f32 x) {
  u32 bits = __float_as_uint(x);
  if (x != x) return 0x7fff;  // as cvt.rn.bf16x2.f32
  return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline u16 emulationRoundedToF16(f32 x) {
  u32 bits = __float_as_uint(x), magnitude = bits & 0x7fffffffu;
  u16 sign = (u16)(bits >> 16 & 0x8000);
  if (x != x) return 0x7fff;  // as cvt.rn.f16x2.f32
  if (magnitude >= 0x47800000u) return sign | 0x7c00;  // 65536 and more
  if (magnitude < 0x38800000u) {
    // Subnormal: added to a number whose last bit is worth 2^-24, it is rounded there.
    f32 shifted = __uint_as_float(magnitude) + 0.5f;
    return sign | (u16)(__float_as_uint(shifted) - 0x3f000000u);
  }
  magnitude += 0xfff + (magnitude >> 13 & 1);
  return sign | (u16)((magnitude - 0x38000000u) >> 13);
}
inline u32 packBF16(f32 low, f32 high) {
  return emulationRoundedToBF16(low) | (u32)emulationRoundedToBF16(high) << 16;
}
inline u32 packF16(f32 low, f32 high) {
  return emulationRoundedToF16(low) | (u32)emulationRoundedToF16(high) << 16;
}

inline f32 roundedToOdd(f64 x) {
  f32 cut = __double2float_rz(x);
  return (f64)cut == x || x != x ? cut : __uint_as_float(__float_as_uint(cut) | 1u);
}
template <typename T> struct Caster;
template <> struct Caster<f32> {
  static f32 cast(f32 x) { return x; }
  static f32 cast(f64 x) { return (f32)x; }
};
template <> struct Caster<f64> {
  static f64 cast(f32 x) { return x; }
  static f64 cast(f64 x) { return x; }
};
template <> struct Caster<bf16> {
  static bf16 cast(f32 x) { return {emulationRoundedToBF16(x)}; }
  static bf16 cast(f64 x) { return cast(roundedToOdd(x)); }
};
template <> struct Caster<f16> {
  static f16 cast(f32 x) { return {emulationRoundedToF16(x)}; }
  static f16 cast(f64 x) { return cast(roundedToOdd(x)); }
};
template <typename T, typename V> inline T cast(V x) { return Caster<T>::cast(x); }

template <typename T> struct Packer {
  static void unpack(const Chunk& c, Real<T> (&v)[VEC<T>]) {
    T elements[VEC<T>];
    __builtin_memcpy(elements, &c, 16);
    for (int i = 0; i < VEC<T>; i++) v[i] = real(elements[i]);
  }
  static Chunk pack(const Real<T> (&v)[VEC<T>]) {
    T elements[VEC<T>];
    for (int i = 0; i < VEC<T>; i++) elements[i] = Caster<T>::cast(v[i]);
    Chunk c;
    __builtin_memcpy(&c, elements, 16);
    return c;
  }
};
template <typename T> inline void unpack(const Chunk& c, Real<T> (&v)[VEC<T>]) {
  Packer<T>::unpack(c, v);
}
template <typename T> inline Chunk pack(const Real<T> (&v)[VEC<T>]) { return Packer<T>::pack(v); }

// A copy is made when it is waited for: whoever forgets to wait reads what was there before.
inline void copyAsync(void* shared, const void* global) { emulationCopyAsync(shared, global); }
inline void commitAsync() { emulationCommitAsync(); }
template <int pending> inline void waitAsyncGroups() { emulationWaitAsync(pending); }
inline void waitAsync() { emulationWaitAsync(-1); }

inline void storeStreaming(void* p, Chunk c) { *reinterpret_cast<Chunk*>(p) = c; }
inline Chunk loadStreaming(const void* p) { return *reinterpret_cast<const Chunk*>(p); }

template <typename V> inline void emulationStore(V* p, V v) {
  __atomic_store(p, &v, __ATOMIC_RELAXED);
}
template <typename V> inline V emulationLoad(const V* p) {
  V v;
  __atomic_load(p, &v, __ATOMIC_RELAXED);
  return v;
}
inline void storeShared(f32* p, f32 v) { emulationStore(p, v); }
inline void storeShared(f64* p, f64 v) { emulationStore(p, v); }
inline void storeShared(u32* p, u32 v) { emulationStore(p, v); }
inline void storeShared(float2* p, float2 v) {
  emulationStore(&p->x, v.x);
  emulationStore(&p->y, v.y);
}
inline void storeShared(double2* p, double2 v) {
  emulationStore(&p->x, v.x);
  emulationStore(&p->y, v.y);
}
inline f32 loadShared(const f32* p) { return emulationLoad(p); }
inline f64 loadShared(const f64* p) { return emulationLoad(p); }
inline u32 loadShared(const u32* p) { return emulationLoad(p); }
inline float2 loadShared(const float2* p) { return {emulationLoad(&p->x), emulationLoad(&p->y)}; }
inline double2 loadShared(const double2* p) { return {emulationLoad(&p->x), emulationLoad(&p->y)}; }

inline u32 arriveAndRead(u32* counter, u32 by = 1) {
  u32 before = __atomic_fetch_add(counter, by, __ATOMIC_ACQ_REL);
  emulationProgress();
  return before;
}
inline void arrive(u32* counter, u32 by = 1) { arriveAndRead(counter, by); }
inline u32 acquire(const u32* counter) {
  emulationWait();
  return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}
inline u32 takeNumber(u32* counter) { return atomicAdd(counter, 1u); }
inline void groupBarrier(u32* counter, u32 members, u32 member) {
  __syncthreads();
  if (threadIdx.x == 0) {
    u32 before = arriveAndRead(counter, member == 0 ? 0x80000000u - (members - 1) : 1u);
    while (((acquire(counter) ^ before) & 0x80000000u) == 0) {}
  }
  __syncthreads();
}

// How a launch calls a kernel.

struct EmulatedParameter { u32 bytes, isPointer; };
template <typename V> struct EmulatedPointer { static constexpr u32 value = 0; };
template <typename V> struct EmulatedPointer<V*> { static constexpr u32 value = 1; };
template <int... I> struct EmulatedIndices {};
template <int n, int... I> struct EmulatedCount : EmulatedCount<n - 1, n - 1, I...> {};
template <int... I> struct EmulatedCount<0, I...> { typedef EmulatedIndices<I...> type; };
template <typename... A, int... I>
inline void emulationCall(void (*kernel)(A...), void** arguments, EmulatedIndices<I...>) {
  kernel(*reinterpret_cast<A*>(arguments[I])...);
}
template <typename... A> inline void emulationCall(void (*kernel)(A...), void** arguments) {
  emulationCall(kernel, arguments, typename EmulatedCount<(int)sizeof...(A)>::type());
}
/// Fills a table that has one more entry than there are parameters; the last one is zero.
template <typename... A> inline const EmulatedParameter* emulationParameters(void (*)(A...)) {
  static const EmulatedParameter table[] = {{(u32)sizeof(A), EmulatedPointer<A>::value}..., {0, 0}};
  return table;
}
