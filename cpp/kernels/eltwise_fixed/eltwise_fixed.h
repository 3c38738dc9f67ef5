// Addition and multiplication of u8 tensors in the fixed scheme, row by row, integers only (core/fixed.h).
//
//   add: y = clamp(scaled_twice(scaled_twice((a - za) << 20, ma) + scaled_twice((b - zb) << 20, mb), my) + zp, lo, hi)
//   mul: y = clamp(scaled_twice((a - za) * (b - zb), m) + zp, lo, hi)
//
// A row pitch may be zero (a row vector against every row) and y may be a or b. In *_scalar, b holds one value a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace octavo {

// multiplier * 2^(shift - 31), as core/fixed.h's FixedScale
struct FixedFactor {
  int32_t multiplier, shift;
};
struct AddFixedParams {
  int32_t za, zb, zp, lo, hi;
  FixedFactor a, b, y;
};
struct MulFixedParams {
  int32_t za, zb, zp, lo, hi;
  FixedFactor m;
};

constexpr int kAddFixedLeft = 20;

struct EltwiseFixed {
  const char* isa;
  using AddFn = void (*)(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb,
                         int64_t rows, int64_t cols, const AddFixedParams& p);
  using MulFn = void (*)(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb,
                         int64_t rows, int64_t cols, const MulFixedParams& p);
  AddFn add, add_scalar;
  MulFn mul, mul_scalar;
};

const EltwiseFixed& eltwise_fixed(Isa isa);

}  // namespace octavo
