#include "core/math.h"
#include "kernels/eltwise_f32/eltwise_f32.h"
#include "kernels/simd/avx512vnni_f32.h"

namespace octavo {
namespace avx512vnni {
namespace {
#include "core/unary_f32.inl"
#include "kernels/eltwise_f32/tile.inl"
}  // namespace
}  // namespace avx512vnni

extern const EltwiseF32 eltwise_f32_avx512vnni = {avx512vnni::unary, avx512vnni::binary};

}  // namespace octavo
