#ifndef ABN_MATH_H
#define ABN_MATH_H

// The square root as one instruction. Swift's squareRoot() goes through the C library's sqrt, which
// sets errno for negative numbers; loops around it are not vectorized.

/// The square root of x; NaN where x is below 0.
static inline float abn_sqrtf(float x) { return __builtin_elementwise_sqrt(x); }

/// The square root of x; NaN where x is below 0.
static inline double abn_sqrt(double x) { return __builtin_elementwise_sqrt(x); }

#endif
