// float16 <-> wider floats, bit for bit on every machine: round to nearest even, subnormals, infinities and NaN
// included.
#pragma once

#include <cstdint>
#include <cstring>

namespace octavo {

struct Half {
  uint16_t bits;
};

inline float float_of(Half h) {
  const uint32_t sign = uint32_t(h.bits & 0x8000u) << 16;
  const uint32_t exponent = h.bits >> 10 & 31u, mantissa = h.bits & 0x3ffu;
  uint32_t bits;
  if (exponent == 31) {
    bits = sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0);  // NaN becomes quiet
  } else if (exponent) {
    bits = sign | (exponent + 112) << 23 | mantissa << 13;
  } else {
    const float magnitude = float(mantissa) * 5.9604644775390625e-8f;  // 2^-24: exact
    std::memcpy(&bits, &magnitude, 4);
    bits |= sign;
  }
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// Rounded once, from the float64 itself.
inline Half half_of(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  const uint16_t sign = uint16_t(bits >> 48 & 0x8000u);
  const int exponent = int(bits >> 52 & 0x7ff) - 1023;
  const uint64_t mantissa = bits & 0xfffffffffffffull;
  if (exponent == 1024) return {uint16_t(sign | 0x7c00u | (mantissa ? 0x200u | mantissa >> 42 : 0))};
  if (exponent > 15) return {uint16_t(sign | 0x7c00u)};
  if (exponent < -25) return {sign};
  // value = significand * 2^(exponent - 52); a half's unit is 2^(max(exponent, -14) - 10).
  const uint64_t significand = mantissa | uint64_t(1) << 52;
  const int shift = 42 + (exponent < -14 ? -14 - exponent : 0);
  uint64_t units = significand >> shift;
  const uint64_t rest = significand & ((uint64_t(1) << shift) - 1), middle = uint64_t(1) << (shift - 1);
  if (rest > middle || (rest == middle && (units & 1))) units++;
  // A carry out of the mantissa runs into the exponent, as it should, up to infinity.
  const uint64_t base = exponent < -14 ? 0 : uint64_t(exponent + 14) << 10;
  return {uint16_t(sign | uint16_t(base + units))};
}

}  // namespace octavo
