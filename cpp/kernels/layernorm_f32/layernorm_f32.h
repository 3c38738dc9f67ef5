// One normalised row:
//   mean = sum16(x) / n; d_i = fl(x_i - mean); var = sum16(fl(d_i * d_i)) / n;
//   y_i = fl(fl(fl(d_i / sqrt(fl(var + eps))) * scale_i) + bias_i)
// sum16: lane i mod 16 adds its elements in order from 0, then lanes are added in halves (8, 4, 2, 1).
#pragma once

#include <cstdint>

namespace octavo {

struct LayernormF32 {
  void (*rows)(const float* x, const float* scale, const float* bias, float* y, int64_t rows, int64_t n, float epsilon);
};

}  // namespace octavo
