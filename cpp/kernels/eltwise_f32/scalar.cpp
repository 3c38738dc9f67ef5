#include "core/math.h"
#include "kernels/eltwise_f32/eltwise_f32.h"
#include "kernels/simd/scalar_f32.h"

namespace octavo {
namespace scalar {
namespace {
#include "core/unary_f32.inl"
#include "kernels/eltwise_f32/tile.inl"
}  // namespace
}  // namespace scalar

extern const EltwiseF32 eltwise_f32_scalar = {scalar::unary, scalar::binary};

}  // namespace octavo
