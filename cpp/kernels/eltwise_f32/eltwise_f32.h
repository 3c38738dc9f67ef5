// Element by element on float32 rows: what core/math.h (unary_f32) and the table below say, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

// In the order of the plan's Binary functions. Min and Max pass NaN on, from either side; Mod is Python's (sign of the
// divisor) or, with fmod, C's; PRelu(a, slope) = a < 0 ? slope * a : a.
enum class BinaryFn : int32_t {
  Add,
  Sub,
  Mul,
  Div,
  Pow,
  Min,
  Max,
  Mod,
  PRelu,
  And,
  Or,
  Xor,
  BitwiseAnd,
  BitwiseOr,
  BitwiseXor,
  ShiftLeft,
  ShiftRight,
  Equal,
  Less,
  LessOrEqual,
  Greater,
  GreaterOrEqual,
};

enum class BinaryShape : int32_t { both, scalar_a, scalar_b };  // a row against a row, or one side a single element

struct EltwiseF32 {
  // x == y is allowed. False: this function has no vector form here (use unary_f32).
  bool (*unary)(int fn, const float* x, float* y, int64_t n, float alpha, float beta);
  // Add, Sub, Mul, Div, Min, Max, PRelu; false for the others. y may be a or b.
  bool (*binary)(int fn, int shape, const float* a, const float* b, float* y, int64_t n);
};

// The same, falling back to the scalar definition where the kernel has no vector form.
void unary_row_f32(const EltwiseF32& kernel, int fn, const float* x, float* y, int64_t n, float alpha, float beta);

}  // namespace octavo
