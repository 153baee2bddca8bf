#ifndef ABN_KERNELS_PREFETCH_H
#define ABN_KERNELS_PREFETCH_H

/// Asks the processor to bring the cache line of `address` into its second cache. Never faults, whatever
/// the address; changes nothing but time. Always inlined: no function of this name is ever linked.
static inline __attribute__((always_inline)) void abn_prefetch(const void *address) {
  __builtin_prefetch(address, 0, 2);
}

#endif
