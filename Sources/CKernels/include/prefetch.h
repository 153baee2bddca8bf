#ifndef ABN_KERNELS_PREFETCH_H
#define ABN_KERNELS_PREFETCH_H

/// Asks the processor to bring the cache line of `address` into its second cache. Never faults, whatever
/// the address; changes nothing but time. Always inlined: no function of this name is ever linked.
static inline __attribute__((always_inline)) void abn_prefetch(const void *address) {
  __builtin_prefetch(address, 0, 2);
}

/// Writes 64 bytes to a multiple of 64 past the caches: memory need not be read first. Ordered before what other
/// threads are told by `abn_stream_end` only.
static inline __attribute__((always_inline)) void abn_stream(void *to, const void *from) {
  typedef float abn_line __attribute__((vector_size(64)));
  typedef float abn_loose __attribute__((vector_size(64), aligned(1)));
  __builtin_nontemporal_store(*(const abn_loose *)from, (abn_line *)to);
}

/// To be called after the last `abn_stream` of a thread.
static inline __attribute__((always_inline)) void abn_stream_end(void) {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

#endif
