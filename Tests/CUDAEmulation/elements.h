// Elements of the types that libraries compute with, as double and back.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace stub {
/// cudnnDataType_t and cudaDataType_t number them differently.
enum class Element { f32, f64, f16, bf16, unknown };
inline size_t bytesOf(Element e) { return e == Element::f64 ? 8 : e == Element::f32 ? 4 : 2; }

inline double load(const void* base, int64_t index, Element e) {
  const char* p = static_cast<const char*>(base) + index * int64_t(bytesOf(e));
  double d;
  float f;
  uint16_t h;
  switch (e) {
    case Element::f64: memcpy(&d, p, 8); return d;
    case Element::f32: memcpy(&f, p, 4); return f;
    case Element::bf16: {
      memcpy(&h, p, 2);
      uint32_t bits = uint32_t(h) << 16;
      memcpy(&f, &bits, 4);
      return f;
    }
    default: {
      memcpy(&h, p, 2);
      int exponent = h >> 10 & 31, fraction = h & 1023;
      double magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                         : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                        : std::ldexp(fraction, -24);
      return h & 0x8000 ? -magnitude : magnitude;
    }
  }
}

/// Rounded to nearest even.
inline void store(void* base, int64_t index, Element e, double value) {
  char* p = static_cast<char*>(base) + index * int64_t(bytesOf(e));
  if (e == Element::f64) {
    memcpy(p, &value, 8);
    return;
  }
  if (e == Element::f32) {
    float f = float(value);
    memcpy(p, &f, 4);
    return;
  }
  // Bits of fraction, least and largest exponent.
  bool isHalf = e == Element::f16;
  int digits = isHalf ? 10 : 7, least = isHalf ? -14 : -126, most = isHalf ? 15 : 127;
  uint16_t sign = std::signbit(value) ? 0x8000 : 0, infinity = isHalf ? 0x7c00 : 0x7f80, bits;
  double magnitude = std::fabs(value);
  if (std::isnan(value)) {
    bits = 0x7fff;
  } else if (std::isinf(value)) {
    bits = sign | infinity;
  } else {
    int exponent = magnitude == 0 ? least : std::max(std::ilogb(magnitude), least);
    // In units of the last bit; 1 << digits of them are 2^exponent.
    double units = std::nearbyint(std::ldexp(magnitude, digits - exponent));
    uint32_t whole = uint32_t(units) + (uint32_t(exponent - least) << digits);
    uint32_t end = uint32_t(most - least + 2) << digits;
    bits = sign | uint16_t(whole >= end ? infinity : whole);
  }
  memcpy(p, &bits, 2);
}
}  // namespace stub
