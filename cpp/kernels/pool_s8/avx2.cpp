#include "kernels/pool_s8/pool_s8.h"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

// v where it is NaN, else m.
inline VF or_nan(VF v, VF m) { return _mm256_blendv_ps(m, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q)); }

#include "kernels/pool_s8/tile.inl"

constexpr PoolS8 kTable = {"avx2", max_bytes<false>, max_bytes<true>, max_floats, mean_bytes, average_bytes, sum_bytes};

}  // namespace
}  // namespace avx2

extern const PoolS8 pool_s8_avx2;
const PoolS8 pool_s8_avx2 = avx2::kTable;

}  // namespace octavo
