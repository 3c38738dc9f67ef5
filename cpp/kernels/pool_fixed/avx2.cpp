#include "kernels/pool_fixed/pool_fixed.h"
#include "kernels/simd/avx2_fixed.h"

namespace octavo {
namespace avx2 {
namespace {

#include "kernels/pool_fixed/tile.inl"

constexpr PoolFixed kTable = {"avx2", mean_u8, sum_bytes};

}  // namespace
}  // namespace avx2

extern const PoolFixed pool_fixed_avx2;
const PoolFixed pool_fixed_avx2 = avx2::kTable;

}  // namespace octavo
