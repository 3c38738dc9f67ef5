#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "kernels/simd/scalar_fixed.h"

namespace octavo {
namespace scalar {
namespace {

#include "kernels/eltwise_fixed/tile.inl"

constexpr EltwiseFixed kTable = {"scalar", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace scalar

extern const EltwiseFixed eltwise_fixed_scalar;
const EltwiseFixed eltwise_fixed_scalar = scalar::kTable;

}  // namespace octavo
