// Quantized addition and multiplication of u8 tensors, row by row.
//
//   add: y = clamp(rne(fl(fl(fl((a - za) * sa) + fl((b - zb) * sb)) / sy)) + zp, lo, hi)   (core/arith.h quantized_add)
//        with ratio: v = fma(a - za, sa, fma(b - zb, sb, c)), with inner_a fma(b - zb, sb, fma(a - za, sa, c));
//        y = clamp(rne(v) + zp, lo, hi)
//   mul: y = clamp(rne(fl(fl(fl32((a - za) * (b - zb)) * m) + before)) + zp, lo, hi)
//
// Products and sum round separately unless fma is written; sy is finite and above 0. A row pitch may be zero (a row
// vector against every row) and y may be a or b. In *_scalar, b holds one value a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace octavo {

struct AddS8Params {
  int32_t za, zb, zp, lo, hi;
  float sa, sb, sy;
  float c = 0;
  bool ratio = false, inner_a = false;
};
struct MulS8Params {
  int32_t za, zb, zp, lo, hi;
  float m;
  float before = 0;
};

struct EltwiseS8 {
  const char* isa;
  using AddFn = void (*)(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb,
                         int64_t rows, int64_t cols, const AddS8Params& p);
  using MulFn = void (*)(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb,
                         int64_t rows, int64_t cols, const MulS8Params& p);
  AddFn add, add_scalar;
  MulFn mul, mul_scalar;
};

const EltwiseS8& eltwise_s8(Isa isa);

}  // namespace octavo
