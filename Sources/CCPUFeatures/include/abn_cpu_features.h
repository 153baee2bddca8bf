#ifndef ABN_CPU_FEATURES_H
#define ABN_CPU_FEATURES_H

/// The widest kernel set that this processor and its operating system run: 0 baseline, 1 AVX2 with
/// FMA and F16C (x86-64-v3), 2 AVX-512 F, BW, CD, DQ, VL (x86-64-v4). 0 on other processors.
int abn_cpu_kernel_level(void);

#endif
