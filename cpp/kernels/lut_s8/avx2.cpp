#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

#include "kernels/lut_s8/tile.inl"

constexpr LutS8 kTable = {"avx2", bytes, floats, flip};

}  // namespace
}  // namespace avx2

extern const LutS8 lut_s8_avx2;
const LutS8 lut_s8_avx2 = avx2::kTable;

}  // namespace octavo
