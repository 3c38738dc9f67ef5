#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/avx2_f32.h"

namespace octavo {
namespace avx2 {
namespace {
#include "kernels/dwconv_f32/tile.inl"
}  // namespace
}  // namespace avx2

extern const DwconvF32 dwconv_f32_avx2 = {avx2::dwconv_row, avx2::dwconv_pair};

}  // namespace octavo
