#include "kernels/pool_s8/pool_s8.h"
#include "kernels/simd/scalar_i8.h"

namespace octavo {
namespace scalar {
namespace {

// v where it is NaN, else m.
inline VF or_nan(VF v, VF m) {
  for (int i = 0; i < kLanes; i++) m.v[i] = v.v[i] == v.v[i] ? m.v[i] : v.v[i];
  return m;
}

#include "kernels/pool_s8/tile.inl"

constexpr PoolS8 kTable = {"scalar",   max_bytes<false>, max_bytes<true>, max_floats,
                           mean_bytes, average_bytes,    sum_bytes};

}  // namespace
}  // namespace scalar

extern const PoolS8 pool_s8_scalar;
const PoolS8 pool_s8_scalar = scalar::kTable;

}  // namespace octavo
