#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/scalar_i8.h"

namespace octavo {
namespace scalar {
namespace {

#include "kernels/eltwise_s8/tile.inl"

constexpr EltwiseS8 kTable = {"scalar", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace scalar

extern const EltwiseS8 eltwise_s8_scalar;
const EltwiseS8 eltwise_s8_scalar = scalar::kTable;

}  // namespace octavo
