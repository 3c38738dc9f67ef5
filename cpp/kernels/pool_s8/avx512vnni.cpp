#include "kernels/pool_s8/pool_s8.h"
#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

// v where it is NaN, else m.
inline VF or_nan(VF v, VF m) { return _mm512_mask_mov_ps(m, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v); }

#include "kernels/pool_s8/tile.inl"

constexpr PoolS8 kTable = {"avx512vnni", max_bytes<false>, max_bytes<true>, max_floats,
                           mean_bytes,   average_bytes,    sum_bytes};

}  // namespace
}  // namespace avx512vnni

extern const PoolS8 pool_s8_avx512vnni;
const PoolS8 pool_s8_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
