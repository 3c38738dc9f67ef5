#include "kernels/layernorm_f32/layernorm_f32.h"
#include "kernels/simd/avx2_f32.h"

namespace octavo {
namespace avx2 {
namespace {
#include "kernels/layernorm_f32/tile.inl"
}  // namespace
}  // namespace avx2

extern const LayernormF32 layernorm_f32_avx2 = {avx2::layernorm_rows};

}  // namespace octavo
