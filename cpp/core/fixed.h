// The scalar arithmetic of the fixed scheme (docs/arithmetic.md, "The fixed scheme"): integers only.
#pragma once

#include <cstdint>

namespace octavo {

// x * multiplier * 2^(shift - 31); multipliers lie in (-2^31, 2^31), shifts in [-31, 30].
struct FixedScale {
  int32_t multiplier = 0, shift = 0;
};

// floor((a * b + 2^30) / 2^31)
inline int32_t high_product(int32_t a, int32_t b) { return int32_t((int64_t(a) * b + (int64_t(1) << 30)) >> 31); }

// x / 2^n to the nearest, ties away from zero; 0 <= n <= 62.
inline int64_t rounded_shift(int64_t x, int n) {
  const int64_t mask = (int64_t(1) << n) - 1;
  return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0));
}

// Two roundings; a left shift wraps.
inline int32_t scaled_twice(int32_t x, FixedScale s) {
  const int left = s.shift > 0 ? s.shift : 0, right = s.shift < 0 ? -s.shift : 0;
  return int32_t(rounded_shift(high_product(int32_t(uint32_t(x) << left), s.multiplier), right));
}

// total / n to the nearest, ties away from zero; n > 0.
inline int64_t divided(int64_t total, int64_t n) { return total < 0 ? -((n / 2 - total) / n) : (total + n / 2) / n; }

inline int32_t clamp_byte(int64_t y, int32_t lo, int32_t hi) { return y < lo ? lo : y > hi ? hi : int32_t(y); }

// ---- fixed-point numbers: Q(n) has n bits before the point and 31 - n behind it ----

// exp of a Q5 number up to 0, as Q0 (1 is 2^31 - 1).
int32_t exp_negative_q5(int32_t x);
// 1 / (1 + x) of a Q0 number in [0, 1), as Q0.
int32_t reciprocal_above_one(int32_t x);

}  // namespace octavo
