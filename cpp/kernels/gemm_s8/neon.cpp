// Tiles of 8 x 2 accumulators; ARMv8.0 has no exact byte dot product, so it multiplies int16.
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/simd/neon_i8.h"

namespace octavo {
namespace neon {
namespace {

#define OCTAVO_GEMM_S8_OWN_TILE
#include "kernels/gemm_s8/tile.inl"

template <int MR, int NR>
OCTAVO_INLINE void multiply_group(VI (&acc)[MR][NR], const uint8_t* a, int64_t lda, const int8_t* b) {
  // Four k of NR vectors: [k][NR][4 columns].
  int16x4_t w[4][NR];
  OCTAVO_UNROLL
  for (int j = 0; j < NR; j++) {
    const int8x16_t v = vld1q_s8(b + 16 * j);
    const int16x8_t lo = vmovl_s8(vget_low_s8(v)), hi = vmovl_high_s8(v);
    const int16x4_t part4[4] = {vget_low_s16(lo), vget_high_s16(lo), vget_low_s16(hi), vget_high_s16(hi)};
    OCTAVO_UNROLL
    for (int q = 0; q < 4; q++) w[(4 * j + q) / NR][(4 * j + q) % NR] = part4[q];
  }
  OCTAVO_UNROLL
  for (int i = 0; i < MR; i++) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, a + i * lda, 4);
    const int16x4_t x = vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)))));
    OCTAVO_UNROLL
    for (int j = 0; j < NR; j++) {
      acc[i][j] = vmlal_lane_s16(acc[i][j], w[0][j], x, 0);
      acc[i][j] = vmlal_lane_s16(acc[i][j], w[1][j], x, 1);
      acc[i][j] = vmlal_lane_s16(acc[i][j], w[2][j], x, 2);
      acc[i][j] = vmlal_lane_s16(acc[i][j], w[3][j], x, 3);
    }
  }
}

// Exact: bytes of both sides widened to int16 in registers, smlal by element.
template <int MR, int NR>
__attribute__((noinline)) void tile(const GemmS8Tile& t) {
  VI acc[MR][NR];
  start_tile<MR, NR>(acc, t);
  const int8_t* b = static_cast<const int8_t*>(t.b);
  for (int o = 0; o < t.outer; o++)
    for (int s = 0; s < t.inner; s++) {
      const uint8_t* a = t.a + o * t.segment_outer + s * t.segment_inner;
      for (int k = 0; k < t.groups; k++, a += 4, b += 16 * NR) multiply_group<MR, NR>(acc, a, t.lda, b);
    }
  for (int e = 0; e < t.extras; e++, b += 16 * NR) multiply_group<MR, NR>(acc, extra_at(t, e), t.lda, b);
  store_tile<MR, NR>(acc, t);
}

// Row-major bytes to [k][2][4]; k is rounded up to a multiple of four.
void pack_rows(void* panel, const uint8_t* b, int64_t ldb, int64_t k, int32_t, int32_t cols, uint8_t flip, bool,
               int32_t* sums) {
  int8_t* to = static_cast<int8_t*>(panel);
  const uint8x8_t f = vdup_n_u8(flip);
  VI sum0 = set1_i(0), sum1 = set1_i(0);
  for (int64_t i = 0; i < (k + 3) / 4 * 4; i++, to += 8) {
    const int8x8_t r = i < k ? vreinterpret_s8_u8(veor_u8(vget_low_u8(load_b(b + i * ldb, cols)), f)) : vdup_n_s8(0);
    vst1_s8(to, r);
    const int16x8_t wide = vmovl_s8(r);
    sum0 = vaddw_s16(sum0, vget_low_s16(wide));
    sum1 = vaddw_high_s16(sum1, wide);
  }
  store_i(sums, sum0);
  store_i(sums + 4, sum1);
}

constexpr GemmS8 kTable = {
    "neon", kLanes,    1,        false, false, 6000, 2, {8, 8}, {8, 8}, {{OCTAVO_TILES_8(1)}, {OCTAVO_TILES_8(2)}},
    {},     pack_rows, sum_rows,
};

}  // namespace
}  // namespace neon

extern const GemmS8 gemm_s8_neon;
const GemmS8 gemm_s8_neon = neon::kTable;

}  // namespace octavo
