#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "kernels/simd/avx2_fixed.h"

namespace octavo {
namespace avx2 {
namespace {

#include "kernels/eltwise_fixed/tile.inl"

constexpr EltwiseFixed kTable = {"avx2", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace avx2

extern const EltwiseFixed eltwise_fixed_avx2;
const EltwiseFixed eltwise_fixed_avx2 = avx2::kTable;

}  // namespace octavo
