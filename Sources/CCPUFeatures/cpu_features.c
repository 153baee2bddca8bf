#include "abn_cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

// Which registers the operating system saves: the processor alone does not decide.
static unsigned long long saved_state(void) {
  unsigned int low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((unsigned long long)high << 32) | low;
}

int abn_cpu_kernel_level(void) {
  unsigned int a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const unsigned int fma = 1u << 12, movbe = 1u << 22, osxsave = 1u << 27, avx = 1u << 28,
                     f16c = 1u << 29;
  const unsigned int first = fma | movbe | osxsave | avx | f16c;
  if ((c & first) != first) return 0;
  const unsigned long long state = saved_state();
  if ((state & 0x6) != 0x6) return 0;
  unsigned int extendedC = 0;
  if (!__get_cpuid(0x80000001u, &a, &b, &extendedC, &d)) return 0;
  if (!(extendedC & (1u << 5))) return 0;  // LZCNT
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const unsigned int bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
  if ((b & (bmi1 | avx2 | bmi2)) != (bmi1 | avx2 | bmi2)) return 0;
  const unsigned int f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
  const unsigned int wide = f | dq | cd | bw | vl;
  return (b & wide) == wide && (state & 0xE6) == 0xE6 ? 2 : 1;
}
#else
int abn_cpu_kernel_level(void) { return 0; }
#endif
