// Tiles of up to 28 zmm accumulators around vpdpbusd.
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/stem.h"
#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

inline VB gemm_input(VB x) { return x; }
inline __attribute__((always_inline)) void gemm_dot(VI& acc, VB x, VB w) { dot(acc, x, w); }
// On the lower half of the registers, which costs half.
inline __attribute__((always_inline)) void gemm_dot_half(VI& acc, VB x, VB w) {
  asm("vpdpbusd %t2,%t1,%t0" : "+v"(acc) : "v"(x), "v"(w));
}
inline __attribute__((always_inline)) void gemm_dot_from(VI& acc, VB x, const uint8_t* w) {
  asm("vpdpbusd %2,%1,%0" : "+v"(acc) : "v"(x), "m"(*reinterpret_cast<const __m512i_u*>(w)));
}

// The same four bytes of weights for all lanes.
inline __attribute__((always_inline)) void dot_all(VI& acc, VB x, const int8_t* w) {
  asm("vpdpbusd %2%{1to16%},%1,%0" : "+v"(acc) : "v"(x), "m"(*reinterpret_cast<const __m128i_u*>(w)));
}

#include "kernels/gemm_s8/tile.inl"
#ifndef OCTAVO_FIXED
#include "kernels/gemm_s8/stem.inl"
#include "kernels/gemm_s8/strip.inl"
#endif

constexpr GemmS8 kTable = {
    "avx512vnni",
    kLanes,
    4,
    false,
    false,
    150000,
    4,
    {14, 12, 8, 7},
    {14, 14, 9, 7},
    {{OCTAVO_TILES_14(1)}, {OCTAVO_TILES_14(2)}, {OCTAVO_TILES_9(3)}, {OCTAVO_TILES_7(4)}},
    {{OCTAVO_HALF_TILES_14(2)}, {OCTAVO_HALF_TILES_9(3)}},
    pack_rows,
    sum_rows,
#ifndef OCTAVO_FIXED
    {strip<1>, strip<2>, strip<3>, strip<4>},
    {kStripRows[0], kStripRows[1], kStripRows[2], kStripRows[3]},
    stem,
#endif
};

}  // namespace
}  // namespace avx512vnni

extern const GemmS8 OCTAVO_GEMM_S8_TABLE(avx512vnni);
const GemmS8 OCTAVO_GEMM_S8_TABLE(avx512vnni) = avx512vnni::kTable;

}  // namespace octavo
