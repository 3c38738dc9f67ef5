#include "kernels/pool_fixed/pool_fixed.h"
#include "kernels/simd/avx512vnni_fixed.h"

namespace octavo {
namespace avx512vnni {
namespace {

#include "kernels/pool_fixed/tile.inl"

constexpr PoolFixed kTable = {"avx512vnni", mean_u8, sum_bytes};

}  // namespace
}  // namespace avx512vnni

extern const PoolFixed pool_fixed_avx512vnni;
const PoolFixed pool_fixed_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
