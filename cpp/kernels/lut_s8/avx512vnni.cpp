#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

#include "kernels/lut_s8/tile.inl"

constexpr LutS8 kTable = {"avx512vnni", bytes, floats, flip};

}  // namespace
}  // namespace avx512vnni

extern const LutS8 lut_s8_avx512vnni;
const LutS8 lut_s8_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
