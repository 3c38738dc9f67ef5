#include "kernels/dwconv_f32/dwconv_f32.h"
#include "kernels/simd/avx512vnni_f32.h"

namespace octavo {
namespace avx512vnni {
namespace {
#include "kernels/dwconv_f32/tile.inl"
}  // namespace
}  // namespace avx512vnni

extern const DwconvF32 dwconv_f32_avx512vnni = {avx512vnni::dwconv_row, avx512vnni::dwconv_pair};

}  // namespace octavo
