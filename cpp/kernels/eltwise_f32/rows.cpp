#include "core/math.h"
#include "kernels/eltwise_f32/eltwise_f32.h"

namespace octavo {

void unary_row_f32(const EltwiseF32& kernel, int fn, const float* x, float* y, int64_t n, float alpha, float beta) {
  if (kernel.unary(fn, x, y, n, alpha, beta)) return;
  for (int64_t i = 0; i < n; i++) y[i] = unary_f32(UnaryFn(fn), x[i], alpha, beta);
}

}  // namespace octavo
