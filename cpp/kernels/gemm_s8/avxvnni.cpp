// Tiles of 6 x 2 ymm accumulators around vpdpbusd: CPUs with AVX-VNNI but without AVX-512 (Alder Lake and later).
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avxvnni {
namespace {

using namespace avx2;  // its vocabulary, and one instruction more

// Compiled for AVX-512 VNNI, the same instruction has another encoding: so do CPUs with only that one test this file.
#ifdef __AVXVNNI__
inline __attribute__((always_inline)) VI dpbusd(VI acc, VB x, VB w) { return _mm256_dpbusd_avx_epi32(acc, x, w); }
#else
inline __attribute__((always_inline)) VI dpbusd(VI acc, VB x, VB w) { return _mm256_dpbusd_epi32(acc, x, w); }
#endif
inline VB gemm_input(VB x) { return x; }
inline __attribute__((always_inline)) void gemm_dot(VI& acc, VB x, VB w) { acc = dpbusd(acc, x, w); }
inline __attribute__((always_inline)) void gemm_dot_half(VI& acc, VB x, VB w) { gemm_dot(acc, x, w); }
inline __attribute__((always_inline)) void gemm_dot_from(VI& acc, VB x, const uint8_t* w) {
  gemm_dot(acc, x, load_b(w));
}

#define OCTAVO_GEMM_S8_OWN_PACK
#include "kernels/gemm_s8/tile.inl"

// Row-major bytes to [k / 4][2][8][4]: four rows of sixteen bytes interleaved are the panel's columns in their order.
void pack_rows(void* panel, const uint8_t* b, int64_t ldb, int64_t k, int32_t, int32_t cols, uint8_t flip, bool,
               int32_t* sums) {
  uint8_t* to = static_cast<uint8_t*>(panel);
  const VB f = set1_b(flip), one = set1_b(1);
  VI sum[2] = {set1_i(0), set1_i(0)};
  for (int64_t i = 0; i < k; i += 4, to += 2 * kBytes) {
    __m128i r[4];
    for (int q = 0; q < 4; q++)
      r[q] = i + q < k ? _mm256_castsi256_si128(xor_b(load_b(b + (i + q) * ldb, cols), f)) : _mm_setzero_si128();
    const __m128i l01 = _mm_unpacklo_epi8(r[0], r[1]), h01 = _mm_unpackhi_epi8(r[0], r[1]);
    const __m128i l23 = _mm_unpacklo_epi8(r[2], r[3]), h23 = _mm_unpackhi_epi8(r[2], r[3]);
    const VB v[2] = {_mm256_set_m128i(_mm_unpackhi_epi16(l01, l23), _mm_unpacklo_epi16(l01, l23)),
                     _mm256_set_m128i(_mm_unpackhi_epi16(h01, h23), _mm_unpacklo_epi16(h01, h23))};
    for (int j = 0; j < 2; j++) {
      store_b(to + j * kBytes, v[j]);
      sum[j] = dpbusd(sum[j], one, v[j]);
    }
  }
  for (int j = 0; j < 2; j++) store_i(sums + j * kLanes, sum[j]);
}

constexpr GemmS8 kTable = {
    "avxvnni", kLanes,    4,        false, false, 100000, 2, {6, 6}, {6, 6}, {{OCTAVO_TILES_6(1)}, {OCTAVO_TILES_6(2)}},
    {},        pack_rows, sum_rows,
};

}  // namespace
}  // namespace avxvnni

extern const GemmS8 OCTAVO_GEMM_S8_TABLE(avxvnni);
const GemmS8 OCTAVO_GEMM_S8_TABLE(avxvnni) = avxvnni::kTable;

}  // namespace octavo
