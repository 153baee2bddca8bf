#ifndef ABN_CPU_FEATURES_H
#define ABN_CPU_FEATURES_H

/// The widest kernel set that this processor and its operating system run: 0 baseline, 1 AVX2 with
/// FMA and F16C (x86-64-v3), 2 AVX-512 F, BW, CD, DQ, VL (x86-64-v4). 0 on other processors.
int abn_cpu_kernel_level(void);

/// Bytes of the cache that cores share where it takes in all that leaves their own, read or written, as AMD's do
/// since Zen: a second reading comes from there. 0 on processors whose shared cache keeps only some of it.
long long abn_cpu_victim_cache_bytes(void);

#endif
