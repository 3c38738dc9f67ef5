#include "kernels/layernorm_f32/layernorm_f32.h"
#include "kernels/simd/avx512vnni_f32.h"

namespace octavo {
namespace avx512vnni {
namespace {
#include "kernels/layernorm_f32/tile.inl"
}  // namespace
}  // namespace avx512vnni

extern const LayernormF32 layernorm_f32_avx512vnni = {avx512vnni::layernorm_rows};

}  // namespace octavo
