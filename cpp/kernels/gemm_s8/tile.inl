// Bodies shared by every instruction set with a four-byte dot product, and the second passes shared by all.
// Included inside namespace octavo::<isa>, anonymous, after the SIMD vocabulary.

#define OCTAVO_INLINE inline __attribute__((always_inline))
#define OCTAVO_UNROLL _Pragma("GCC unroll 16")

#ifdef OCTAVO_FIXED
#include "kernels/gemm_s8/fixed.inl"
#else
struct Requant {
  VF low, high;
  VH zp;
  VB lo, hi;
};

template <GemmS8Out kOut>
OCTAVO_INLINE VI scaled(VI acc, VF m, const Requant& q) {
  VF x = mul_f(to_f(acc), m);
  if (kOut == GemmS8Out::u8_float) x = max_f(min_f(x, q.high), q.low);
  return to_i(x);
}

OCTAVO_INLINE VB pack4(VI a, VI b, VI c, VI d, const Requant& q) {
  return packus16(adds16(packs32(a, b), q.zp), adds16(packs32(c, d), q.zp));
}

// Requantizes MR rows of NR vectors and stores `cols` bytes of each.
template <int MR, int NR, GemmS8Out kOut>
OCTAVO_INLINE void store_u8(VI (&acc)[MR][NR], const GemmS8Tile& t) {
  uint8_t* c = static_cast<uint8_t*>(t.c);
  const Requant q = {set1_f(float(t.lo - t.zp)), set1_f(float(t.hi - t.zp)), set1_h(int16_t(t.zp)),
                     set1_b(uint8_t(t.lo)), set1_b(uint8_t(t.hi))};
  VF m[NR];
  OCTAVO_UNROLL
  for (int j = 0; j < NR; j++) m[j] = load_f(t.m + j * kLanes);
  // A packed vector holds four vectors of accumulators: one row (NR 3 or 4), two rows (NR 2) or four (NR 1).
  constexpr int kRows = NR >= 3 ? 1 : NR == 2 ? 2 : 4;
  const bool whole = t.cols == NR * kLanes;
  OCTAVO_UNROLL
  for (int i = 0; i < MR; i += kRows) {
    VI v[4];
    OCTAVO_UNROLL
    for (int s = 0; s < 4; s++) {
      const int r = NR >= 3 ? i : i + s / NR, j = NR >= 3 ? (s < NR ? s : NR - 1) : s % NR;
      v[s] = scaled<kOut>(acc[r < MR ? r : MR - 1][j], m[j], q);
    }
    VB y = pack4(v[0], v[1], v[2], v[3], q);
    if (kOut == GemmS8Out::u8_bytes) y = min_u8(max_u8(y, q.lo), q.hi);
    if (NR < 4) y = gather_blocks(y);
    if (NR == 4 || NR == 3) {
      if (NR == 4 && whole)
        store_b(c + i * t.ldc, y);
      else if (NR == 3 && whole)
        store_half<0>(c + i * t.ldc, y), store_quarter<2>(c + i * t.ldc + kBytes / 2, y);
      else
        store_b(c + i * t.ldc, y, t.cols);
    } else if (whole && t.ldc == NR * kLanes && i + kRows <= MR) {
      store_b(c + i * t.ldc, y);  // dense rows
    } else if (whole && NR == 2) {
      store_half<0>(c + i * t.ldc, y);
      if (i + 1 < MR) store_half<1>(c + (i + 1) * t.ldc, y);
    } else if (whole) {
      store_quarter<0>(c + i * t.ldc, y);
      if (i + 1 < MR) store_quarter<1>(c + (i + 1) * t.ldc, y);
      if (i + 2 < MR) store_quarter<2>(c + (i + 2) * t.ldc, y);
      if (i + 3 < MR) store_quarter<3>(c + (i + 3) * t.ldc, y);
    } else {
      OCTAVO_UNROLL
      for (int r = 0; r < kRows; r++)
        if (i + r < MR) store_span(c + (i + r) * t.ldc, y, r * NR * kLanes, t.cols);
    }
  }
}

template <int MR, int NR>
OCTAVO_INLINE void store_s32(VI (&acc)[MR][NR], const GemmS8Tile& t) {
  int32_t* c = static_cast<int32_t*>(t.c);
  OCTAVO_UNROLL
  for (int i = 0; i < MR; i++) OCTAVO_UNROLL
  for (int j = 0; j < NR; j++) {
    const int n = t.cols - j * kLanes;
    if (n >= kLanes)
      store_i(c + i * t.ldc + j * kLanes, acc[i][j]);
    else if (n > 0)
      store_i(c + i * t.ldc + j * kLanes, acc[i][j], n);
  }
}

template <int MR, int NR>
OCTAVO_INLINE void store_f32(VI (&acc)[MR][NR], const GemmS8Tile& t) {
  float* c = static_cast<float*>(t.c);
  OCTAVO_UNROLL
  for (int j = 0; j < NR; j++) {
    const int at = j * kLanes, n = t.cols - at < kLanes ? t.cols - at : kLanes;
    if (n <= 0) return;
    const VF m = load_f(t.m + at), bias = t.bias_f ? load_f(t.bias_f + at, n) : set1_f(0.0f);
    OCTAVO_UNROLL
    for (int i = 0; i < MR; i++) {
      VF v = mul_f(to_f(acc[i][j]), m);
      if (t.bias_f) v = add_f(v, bias);
      if (t.z) v = add_f(v, load_f(t.z + i * t.ldz + at, n));
      if (n == kLanes)
        store_f(c + i * t.ldc + at, v);
      else
        store_f(c + i * t.ldc + at, v, n);
    }
  }
}

template <int MR, int NR>
OCTAVO_INLINE void store_tile(VI (&acc)[MR][NR], const GemmS8Tile& t) {
  if (t.out == GemmS8Out::u8_saturate)
    store_u8<MR, NR, GemmS8Out::u8_saturate>(acc, t);
  else if (t.out == GemmS8Out::u8_bytes)
    store_u8<MR, NR, GemmS8Out::u8_bytes>(acc, t);
  else if (t.out == GemmS8Out::u8_float)
    store_u8<MR, NR, GemmS8Out::u8_float>(acc, t);
  else if (t.out == GemmS8Out::s32)
    store_s32<MR, NR>(acc, t);
  else
    store_f32<MR, NR>(acc, t);
}
#endif

template <int MR, int NR>
OCTAVO_INLINE void start_tile(VI (&acc)[MR][NR], const GemmS8Tile& t) {
  OCTAVO_UNROLL
  for (int j = 0; j < NR; j++) {
    const VI v = load_i(t.bias + j * kLanes);
    OCTAVO_UNROLL
    for (int i = 0; i < MR; i++) acc[i][j] = v;
  }
  if (t.row_bias == nullptr) return;
  OCTAVO_UNROLL
  for (int i = 0; i < MR; i++) {
    const VI v = set1_i(t.row_bias[i]);
    OCTAVO_UNROLL
    for (int j = 0; j < NR; j++) acc[i][j] = add_i(acc[i][j], v);
  }
}

// Where the inputs of an extra group begin.
OCTAVO_INLINE const uint8_t* extra_at(const GemmS8Tile& t, int e) {
  const GemmS8Extra& x = t.extra[e];
  return t.a + x.outer * t.segment_outer + x.inner * t.segment_inner + x.k;
}

#ifndef OCTAVO_GEMM_S8_OWN_TILE
// kHalf: the upper half of the last vector holds no column.
template <int MR, int NR, bool kHalf>
OCTAVO_INLINE void multiply_group(VI (&acc)[MR][NR], const uint8_t* a, int64_t lda, const uint8_t* b) {
  // The largest tile has no register left for the last vector of weights: it stays in memory, for no accumulator must.
  constexpr int kHeld = MR * NR + NR + 1 > 32 ? NR - 1 : NR;
  VB w[NR];
  OCTAVO_UNROLL
  for (int j = 0; j < kHeld; j++) w[j] = load_b(b + j * kBytes);
  OCTAVO_UNROLL
  for (int i = 0; i < MR; i++) {
    const VB x = gemm_input(set1_4(a + i * lda));
    OCTAVO_UNROLL
    for (int j = 0; j < kHeld; j++) {
      if (kHalf && j == NR - 1)
        gemm_dot_half(acc[i][j], x, w[j]);
      else
        gemm_dot(acc[i][j], x, w[j]);
    }
    if (kHeld < NR) gemm_dot_from(acc[i][NR - 1], x, b + (NR - 1) * kBytes);
  }
}

template <int MR, int NR, bool kHalf = false>
__attribute__((noinline)) void tile(const GemmS8Tile& t) {
  VI acc[MR][NR];
  start_tile<MR, NR>(acc, t);
  const uint8_t* b = static_cast<const uint8_t*>(t.b);
  const int64_t lda = t.lda;
  const uint8_t* outer = t.a;
  for (int o = 0; o < t.outer; o++, outer += t.segment_outer) {
    const uint8_t* inner = outer;
    for (int s = 0; s < t.inner; s++, inner += t.segment_inner) {
      const uint8_t* a = inner;
#pragma GCC unroll 1
      for (int k = 0; k < t.groups; k++, a += 4, b += kBytes * NR) multiply_group<MR, NR, kHalf>(acc, a, lda, b);
    }
  }
#pragma GCC unroll 1
  for (int e = 0; e < t.extras; e++, b += kBytes * NR) multiply_group<MR, NR, kHalf>(acc, extra_at(t, e), lda, b);
  store_tile<MR, NR>(acc, t);
}

#ifndef OCTAVO_GEMM_S8_OWN_PACK
// Stores vectors of interleaved columns as `nr` vectors of a panel. Vector j, block g holds columns 16 * g + 4 * j ...,
// which is the order of a panel of four for u8 outputs; the natural order wants block g's four quarters in vector g.
OCTAVO_INLINE void store_columns(uint8_t* to, const VB (&v)[4], int nr, bool natural) {
  if ((nr == 4 && !natural) || kBytes == 16) {
    for (int j = 0; j < nr; j++) store_b(to + j * kBytes, v[j]);
    return;
  }
  OCTAVO_UNROLL
  for (int j = 0; j < 4; j++) {
    store_quarter<0>(to + 16 * j, v[j]);
    if (nr > 1) store_quarter<1>(to + kBytes + 16 * j, v[j]);
    if (nr > 2) store_quarter<2>(to + 2 * kBytes + 16 * j, v[j]);
    if (nr > 3) store_quarter<3>(to + 3 * kBytes + 16 * j, v[j]);
  }
}

// Row-major bytes to [k / 4][nr][lanes][4] by interleaving four rows.
void pack_rows(void* panel, const uint8_t* b, int64_t ldb, int64_t k, int32_t nr, int32_t cols, uint8_t flip,
               bool natural, int32_t* sums) {
  static_assert(kBytes == 16 || kBytes == 64, "store_columns knows these");
  uint8_t* to = static_cast<uint8_t*>(panel);
  const VB f = set1_b(flip), one = set1_b(1);
  VI sum[4] = {set1_i(0), set1_i(0), set1_i(0), set1_i(0)};
  for (int64_t i = 0; i < k; i += 4, to += nr * kBytes) {
    VB r[4];
    for (int q = 0; q < 4; q++) r[q] = i + q < k ? xor_b(load_b(b + (i + q) * ldb, cols), f) : set1_b(0);
    const VB l01 = unpack_lo8(r[0], r[1]), h01 = unpack_hi8(r[0], r[1]);
    const VB l23 = unpack_lo8(r[2], r[3]), h23 = unpack_hi8(r[2], r[3]);
    const VB v[4] = {unpack_lo16(l01, l23), unpack_hi16(l01, l23), unpack_lo16(h01, h23), unpack_hi16(h01, h23)};
    store_columns(to, v, nr, natural);
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) dot(sum[j], one, v[j]);
  }
  alignas(64) int32_t ordered[4 * kLanes];
  for (int j = 0; j < 4; j++) store_i(ordered + j * kLanes, sum[j]);
  VB bits[4];
  for (int j = 0; j < 4; j++) bits[j] = load_b(ordered + j * kLanes);
  store_columns(reinterpret_cast<uint8_t*>(sums), bits, nr, natural);
}
#endif
#endif

void sum_rows(const uint8_t* a, int64_t lda, int64_t rows, int64_t k, int32_t* sums) {
  const VB one = set1_b(1);
  for (int64_t r = 0; r < rows; r++, a += lda) {
    VI sum = set1_i(0);
    int64_t i = 0;
    for (; i + kBytes <= k; i += kBytes) dot(sum, load_b(a + i), one);
    if (i < k) dot(sum, load_b(a + i, int(k - i)), one);
    int32_t lane[kLanes];
    store_i(lane, sum);
    uint32_t total = 0;
    for (int l = 0; l < kLanes; l++) total += uint32_t(lane[l]);
    sums[r] = int32_t(total);
  }
}

#define OCTAVO_TILES_4(NR) tile<1, NR>, tile<2, NR>, tile<3, NR>, tile<4, NR>
#define OCTAVO_TILES_6(NR) OCTAVO_TILES_4(NR), tile<5, NR>, tile<6, NR>
#define OCTAVO_TILES_7(NR) OCTAVO_TILES_6(NR), tile<7, NR>
#define OCTAVO_TILES_8(NR) OCTAVO_TILES_7(NR), tile<8, NR>
#define OCTAVO_TILES_9(NR) OCTAVO_TILES_8(NR), tile<9, NR>
#define OCTAVO_HALF_TILES_4(NR) tile<1, NR, true>, tile<2, NR, true>, tile<3, NR, true>, tile<4, NR, true>
#define OCTAVO_HALF_TILES_9(NR) \
  OCTAVO_HALF_TILES_4(NR), tile<5, NR, true>, tile<6, NR, true>, tile<7, NR, true>, tile<8, NR, true>, tile<9, NR, true>
#define OCTAVO_HALF_TILES_14(NR)                                                                           \
  OCTAVO_HALF_TILES_9(NR), tile<10, NR, true>, tile<11, NR, true>, tile<12, NR, true>, tile<13, NR, true>, \
      tile<14, NR, true>
#define OCTAVO_TILES_14(NR) OCTAVO_TILES_9(NR), tile<10, NR>, tile<11, NR>, tile<12, NR>, tile<13, NR>, tile<14, NR>
