// Tiles of 6 x 2 ymm accumulators; AVX2 has no exact byte product, so it multiplies int16.
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

#define OCTAVO_GEMM_S8_OWN_TILE
#include "kernels/gemm_s8/tile.inl"

// Widened inputs of a tile: kChunk of each row at a time; rows are not a power of two apart, which would make them
// share the sets of the first-level cache.
constexpr int kChunk = 2016;
static_assert(6 * kChunk * sizeof(int16_t) <= kGemmS8Work, "six rows must fit");

// Widens n bytes (a multiple of four, at most kChunk) to int16 without reading behind them.
OCTAVO_INLINE void widen_row(int16_t* to, const uint8_t* a, int n) {
  int k = 0;
  for (; k + 16 <= n; k += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k),
                        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a + k))));
  for (; k < n; k += 4) {
    int32_t x;
    __builtin_memcpy(&x, a + k, 4);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + k), _mm_cvtepu8_epi16(_mm_cvtsi32_si128(x)));
  }
}

template <int MR, int NR>
OCTAVO_INLINE void multiply(VI (&acc)[MR][NR], const int16_t* x, const int16_t* b, int n) {
#pragma GCC unroll 1
  for (int k = 0; k < n; k += 2, b += 16 * NR, x += 2) {
    VB w[NR];
    OCTAVO_UNROLL
    for (int j = 0; j < NR; j++) w[j] = load_b(b + 16 * j);
    OCTAVO_UNROLL
    for (int i = 0; i < MR; i++) {
      const VB u = set1_4(x + i * kChunk);
      OCTAVO_UNROLL
      for (int j = 0; j < NR; j++) acc[i][j] = add_i(acc[i][j], _mm256_madd_epi16(u, w[j]));
    }
  }
}

// Exact: inputs widened once for all panels (as long as they fit), weights at packing, vpmaddwd on pairs of k.
template <int MR, int NR>
__attribute__((noinline)) void tile(const GemmS8Tile& t) {
  int16_t* x = static_cast<int16_t*>(t.work);
  VI acc[MR][NR];
  start_tile<MR, NR>(acc, t);
  const int16_t* b = static_cast<const int16_t*>(t.b);
  const int64_t segment = 4 * int64_t(t.groups), total = int64_t(t.outer) * t.inner * segment;
  const bool fits = total <= kChunk;
  int filled = 0;
  if (!(fits && t.again))
    for (int o = 0; o < t.outer; o++)
      for (int s = 0; s < t.inner; s++) {
        const uint8_t* a = t.a + o * t.segment_outer + s * t.segment_inner;
        for (int64_t bytes = segment; bytes > 0; bytes -= kChunk, a += kChunk) {
          const int n = bytes < kChunk ? int(bytes) : kChunk;
          for (int i = 0; i < MR; i++) widen_row(x + i * kChunk + filled, a + i * t.lda, n);
          if (fits) {
            filled += n;
          } else {
            multiply<MR, NR>(acc, x, b, n);
            b += int64_t(n) * 8 * NR;
          }
        }
      }
  if (fits) multiply<MR, NR>(acc, x, b, int(total));
  store_tile<MR, NR>(acc, t);
}

// Row-major bytes to int16 [k / 2][2][8][2]; k is rounded up to a multiple of four.
void pack_rows(void* panel, const uint8_t* b, int64_t ldb, int64_t k, int32_t, int32_t cols, uint8_t flip, bool,
               int32_t* sums) {
  int16_t* to = static_cast<int16_t*>(panel);
  const __m128i f = _mm_set1_epi8(char(flip));
  const __m256i one = set1_h(1);
  __m256i sum0 = set1_i(0), sum1 = set1_i(0);
  for (int64_t i = 0; i < (k + 3) / 4 * 4; i += 2, to += 32) {
    __m128i r[2];
    for (int q = 0; q < 2; q++)
      r[q] =
          i + q < k ? _mm_xor_si128(_mm256_castsi256_si128(load_b(b + (i + q) * ldb, cols)), f) : _mm_setzero_si128();
    const __m256i v0 = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(r[0], r[1]));
    const __m256i v1 = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(r[0], r[1]));
    store_b(to, v0);
    store_b(to + 16, v1);
    sum0 = add_i(sum0, _mm256_madd_epi16(v0, one));
    sum1 = add_i(sum1, _mm256_madd_epi16(v1, one));
  }
  store_i(sums, sum0);
  store_i(sums + 8, sum1);
}

constexpr GemmS8 kTable = {
    "avx2", kLanes,    2,        true, false, 60000, 2, {6, 6}, {6, 6}, {{OCTAVO_TILES_6(1)}, {OCTAVO_TILES_6(2)}},
    {},     pack_rows, sum_rows,
};

}  // namespace
}  // namespace avx2

extern const GemmS8 OCTAVO_GEMM_S8_TABLE(avx2);
const GemmS8 OCTAVO_GEMM_S8_TABLE(avx2) = avx2::kTable;

}  // namespace octavo
