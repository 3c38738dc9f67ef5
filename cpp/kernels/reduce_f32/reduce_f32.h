// Reductions with sixteen virtual lanes: the i-th reduced element (row-major order of the reduced axes) goes to lane
// i mod 16; every lane starts from the identity (0, -inf, +inf, 1); in the end lanes are combined in halves (8, 4, 2,
// 1).
//   Sum, Mean: acc + x    SumSquare, L2: acc + fl(x * x)    L1: acc + |x|    Prod: acc * x    Max, Min: NaN wins
#pragma once

#include <cstdint>

namespace octavo {

enum class ReduceFn : int32_t { Mean, Sum, Max, Min, Prod, SumSquare, L1, L2 };

struct ReduceF32 {
  // lane[16] += n contiguous elements, the first of which belongs to lane 0.
  void (*run)(int fn, float* lane, const float* x, int64_t n);
  // acc[j] = f(acc[j], x[j]): one reduced element for n outputs.
  void (*step)(int fn, float* acc, const float* x, int64_t n);
  // acc[j] = combine(acc[j], other[j]): one step of the tree for n outputs.
  void (*join)(int fn, float* acc, const float* other, int64_t n);
};

}  // namespace octavo
