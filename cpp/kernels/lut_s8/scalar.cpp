#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/scalar_i8.h"

namespace octavo {
namespace scalar {
namespace {

#include "kernels/lut_s8/tile.inl"

constexpr LutS8 kTable = {"scalar", bytes, floats, flip};

}  // namespace
}  // namespace scalar

extern const LutS8 lut_s8_scalar;
const LutS8 lut_s8_scalar = scalar::kTable;

}  // namespace octavo
