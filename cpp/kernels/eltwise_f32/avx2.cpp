#include "core/math.h"
#include "kernels/eltwise_f32/eltwise_f32.h"
#include "kernels/simd/avx2_f32.h"

namespace octavo {
namespace avx2 {
namespace {
#include "core/unary_f32.inl"
#include "kernels/eltwise_f32/tile.inl"
}  // namespace
}  // namespace avx2

extern const EltwiseF32 eltwise_f32_avx2 = {avx2::unary, avx2::binary};

}  // namespace octavo
