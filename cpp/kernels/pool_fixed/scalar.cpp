#include "kernels/pool_fixed/pool_fixed.h"
#include "kernels/simd/scalar_fixed.h"

namespace octavo {
namespace scalar {
namespace {

#include "kernels/pool_fixed/tile.inl"

constexpr PoolFixed kTable = {"scalar", mean_u8, sum_bytes};

}  // namespace
}  // namespace scalar

extern const PoolFixed pool_fixed_scalar;
const PoolFixed pool_fixed_scalar = scalar::kTable;

}  // namespace octavo
