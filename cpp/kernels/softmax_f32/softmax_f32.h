// Softmax over one axis:
//   m = max(x) (NaN wins); e_i = exp(fl(x_i - m)), results below 2^-126 become 0 (f_exp_negative);
//   s = sum of e_i: lane i mod 16 adds its elements in order, starting from 0, then lanes are added in halves (8, 4, 2,
//   1); y_i = e_i / s;  log: y_i = fl(fl(x_i - m) - fl(log s)).
#pragma once

#include <cstdint>

namespace octavo {

struct SoftmaxF32 {
  // Contiguous axis, `rows` of n elements one after another. `log_of` rounds the core's own logarithm to float32.
  // x == y is allowed.
  void (*rows)(const float* x, float* y, int64_t rows, int64_t n, bool log, float (*log_of)(float));
  // Axis of n elements `stride` apart, for `columns` (at most 16) neighbours at once.
  void (*columns)(const float* x, float* y, int64_t n, int64_t stride, int columns, bool log, float (*log_of)(float));
};

}  // namespace octavo
