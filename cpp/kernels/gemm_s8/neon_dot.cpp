// Tiles of 6 x 4 or 8 x 3 accumulators around sdot. It multiplies signed bytes, so the kernel takes x - 128 and packing
// adds 128 * sum(w) to the bias.
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/simd/neon_dot_i8.h"

namespace octavo {
namespace neon_dot {
namespace {

inline VB gemm_input(VB x) { return xor_b(x, set1_b(0x80)); }
inline __attribute__((always_inline)) void gemm_dot(VI& acc, VB x, VB w) { dot_signed(acc, x, w); }
inline __attribute__((always_inline)) void gemm_dot_half(VI& acc, VB x, VB w) { gemm_dot(acc, x, w); }
inline __attribute__((always_inline)) void gemm_dot_from(VI& acc, VB x, const uint8_t* w) {
  gemm_dot(acc, x, load_b(w));
}

#include "kernels/gemm_s8/tile.inl"

constexpr GemmS8 kTable = {
    "neon_dot",
    kLanes,
    4,
    false,
    true,
    20000,
    4,
    {8, 8, 8, 6},
    {8, 8, 8, 6},
    {{OCTAVO_TILES_8(1)}, {OCTAVO_TILES_8(2)}, {OCTAVO_TILES_8(3)}, {OCTAVO_TILES_6(4)}},
    {},
    pack_rows,
    sum_rows,
};

}  // namespace
}  // namespace neon_dot

extern const GemmS8 gemm_s8_neon_dot;
const GemmS8 gemm_s8_neon_dot = neon_dot::kTable;

}  // namespace octavo
