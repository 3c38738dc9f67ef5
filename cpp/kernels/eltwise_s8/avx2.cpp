#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

#include "kernels/eltwise_s8/tile.inl"

constexpr EltwiseS8 kTable = {"avx2", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace avx2

extern const EltwiseS8 eltwise_s8_avx2;
const EltwiseS8 eltwise_s8_avx2 = avx2::kTable;

}  // namespace octavo
