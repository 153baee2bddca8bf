#include "abn_cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <string.h>

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

long long abn_cpu_victim_cache_bytes(void) {
  unsigned int a, b, c, d;
  unsigned int vendor[3];
  if (!__get_cpuid(0, &a, &vendor[0], &vendor[2], &vendor[1])) return 0;
  if (memcmp(vendor, "AuthenticAMD", 12) != 0 && memcmp(vendor, "HygonGenuine", 12) != 0) return 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const unsigned int family = ((a >> 8) & 0xF) + ((a >> 20) & 0xFF);
  if (family < 0x17) return 0;  // before Zen
  // Where a virtual machine hides the table of caches: the least that servers since Zen 2 have.
  const long long usual = 16 << 20;
  if (!__get_cpuid(0x80000001u, &a, &b, &c, &d) || !(c & (1u << 22))) return usual;
  for (unsigned int index = 0; index < 8; index++) {
    if (!__get_cpuid_count(0x8000001Du, index, &a, &b, &c, &d) || (a & 0x1F) == 0) break;
    if (((a >> 5) & 0x7) != 3) continue;
    const long long line = (b & 0xFFF) + 1, partitions = ((b >> 12) & 0x3FF) + 1;
    const long long ways = ((b >> 22) & 0x3FF) + 1, sets = (long long)c + 1;
    return line * partitions * ways * sets;
  }
  return usual;
}
#else
int abn_cpu_kernel_level(void) { return 0; }
long long abn_cpu_victim_cache_bytes(void) { return 0; }
#endif
