// The portable kernel: the truth that every other one is compared with.
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/simd/scalar_i8.h"

namespace octavo {
namespace scalar {
namespace {

inline VB gemm_input(VB x) { return x; }
inline __attribute__((always_inline)) void gemm_dot(VI& acc, VB x, VB w) { dot(acc, x, w); }
inline __attribute__((always_inline)) void gemm_dot_half(VI& acc, VB x, VB w) { gemm_dot(acc, x, w); }
inline __attribute__((always_inline)) void gemm_dot_from(VI& acc, VB x, const uint8_t* w) {
  gemm_dot(acc, x, load_b(w));
}

#include "kernels/gemm_s8/tile.inl"

constexpr GemmS8 kTable = {
    "scalar",
    kLanes,
    4,
    false,
    false,
    1000,
    4,
    {4, 4, 4, 4},
    {4, 4, 4, 4},
    {{OCTAVO_TILES_4(1)}, {OCTAVO_TILES_4(2)}, {OCTAVO_TILES_4(3)}, {OCTAVO_TILES_4(4)}},
    {},
    pack_rows,
    sum_rows,
};

}  // namespace
}  // namespace scalar

extern const GemmS8 OCTAVO_GEMM_S8_TABLE(scalar);
const GemmS8 OCTAVO_GEMM_S8_TABLE(scalar) = scalar::kTable;

}  // namespace octavo
