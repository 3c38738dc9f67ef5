// Softmax over one axis:
//   m = max(x) (NaN wins); e_i = exp(fl(x_i - m)), results below 2^-126 become 0 (f_exp_negative);
//   s = sum of e_i: lane i mod 16 adds its elements in order, starting from 0, then lanes are added in halves (8, 4, 2,
//   1); y_i = fl(e_i * fl(1 / s));  log: y_i = fl(fl(x_i - m) - fl(log s)).
#pragma once

#include <cstdint>

namespace octavo {

// What attention does to a row of scores first, each step rounded: x / by or x * by, then + mask.
struct ScoresF32 {
  bool divide = false;
  float by = 1.0f;              // 1 changes nothing
  const float* mask = nullptr;  // of the first row; or null
  int64_t mask_row = 0;         // from one row's mask to the next
  bool mask_scalar = false;     // one element for a whole row
};

struct SoftmaxF32 {
  // Contiguous axis, `rows` of n elements one after another. `log_of` rounds the core's own logarithm to float32.
  // x == y is allowed.
  void (*rows)(const float* x, float* y, int64_t rows, int64_t n, bool log, float (*log_of)(float));
  // The same in place, not the logarithm, of scores that are scaled and masked first.
  void (*scores)(float* x, int64_t rows, int64_t n, const ScoresF32& how);
  // Axis of n elements `stride` apart, for `columns` (at most 16) neighbours at once.
  void (*columns)(const float* x, float* y, int64_t n, int64_t stride, int columns, bool log, float (*log_of)(float));
};

}  // namespace octavo
