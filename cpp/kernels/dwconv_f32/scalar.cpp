#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/scalar_f32.h"

namespace octavo {
namespace scalar {
namespace {
#include "kernels/dwconv_f32/tile.inl"
}  // namespace
}  // namespace scalar

extern const DwconvF32 dwconv_f32_scalar = {scalar::dwconv_row, scalar::dwconv_pair};

}  // namespace octavo
