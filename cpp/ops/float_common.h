// What the float operators share: the fused epilogue and the cutting of products into chunks.
#pragma once

#include <algorithm>
#include <string>

#include "core/math.h"
#include "kernels/gemm_f32/driver.h"
#include "kernels/registry.h"
#include "ops/op.h"

namespace octavo {

// A function of the Unary table with its parameters.
struct Activation {
  UnaryFn fn = UnaryFn::None;
  float alpha = 0, beta = 0;
};
// From `act` with act_alpha, act_beta, act_lo, act_hi (prefix "act_"), or from `fn` with alpha, beta, lo, hi (prefix
// "").
Activation parse_activation(const BindContext& ctx, const char* key, const std::string& prefix);

inline const GemmF32& gemm_f32(Isa isa) { return *static_cast<const GemmF32*>(find_kernel("gemm_f32", isa)); }
inline const EltwiseF32& eltwise_f32(Isa isa) {
  return *static_cast<const EltwiseF32*>(find_kernel("eltwise_f32", isa));
}

// A product of rows x panels cut into a grid of chunks of about a million multiply-accumulates.
struct Grid {
  int64_t rows, panels, row_chunks, panel_chunks;
  int64_t chunks() const { return row_chunks * panel_chunks; }
  int64_t row(int64_t chunk) const { return rows * chunk / row_chunks; }
  int64_t panel(int64_t chunk) const { return panels * chunk / panel_chunks; }
};
Grid grid_of(const Region& pool, int64_t rows, int64_t panels, int64_t macs, int64_t row_unit);

// The epilogue of `acc64=1` sums: round, + bias, + z, act, each rounding to float32.
inline float finish_f32(double sum, const float* bias, const float* z, const Activation& act) {
  float y = float(sum);
  if (bias) y = y + *bias;
  if (z) y = y + *z;
  return unary_f32(act.fn, y, act.alpha, act.beta);
}

}  // namespace octavo
