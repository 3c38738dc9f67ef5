// Means over windows of channels-last u8 images in the fixed scheme, integers only (core/fixed.h).
//
//   S = sum of x[pixel, c] over the window, + add
//   divisor > 0:  y[c] = clamp(divided(S, divisor) + zp, lo, hi)
//   otherwise:    y[c] = clamp(scaled_twice(S, (multiplier, shift)) + zp, lo, hi)
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/pool_s8/pool_s8.h"

namespace octavo {

struct PoolFixedMean {
  int32_t add;
  int32_t divisor;
  int32_t multiplier, shift;
  int32_t zp, lo, hi;
};

struct PoolFixed {
  const char* isa;
  void (*mean_u8)(const PoolWindow& w, const PoolFixedMean& m);
  int32_t (*sum_u8)(const uint8_t* x, int64_t n);  // of n bytes (mod 2^32)
};

const PoolFixed& pool_fixed(Isa isa);

}  // namespace octavo
