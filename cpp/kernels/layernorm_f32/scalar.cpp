#include "kernels/layernorm_f32/layernorm_f32.h"
#include "kernels/simd/scalar_f32.h"

namespace octavo {
namespace scalar {
namespace {
#include "kernels/layernorm_f32/tile.inl"
}  // namespace
}  // namespace scalar

extern const LayernormF32 layernorm_f32_scalar = {scalar::layernorm_rows};

}  // namespace octavo
