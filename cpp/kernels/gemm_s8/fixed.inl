// The fixed scheme's epilogue: accumulators to bytes with integers only. Included from tile.inl in place of its own.
//
// Accumulators leave the registers first, so that one piece of code serves tiles of every height.

struct Requant {
  VH zp;
  VB lo, hi;
};

// The scales of a panel's vector j, for sums that round twice or once.
template <bool kOnce>
OCTAVO_INLINE auto load_scale(const GemmS8Tile& t, int j) {
  const VI multiplier = load_i(t.multiplier + j * kLanes), shift = load_i(t.shift + j * kLanes);
  if constexpr (kOnce)
    return make_once(multiplier, shift);
  else
    return make_twice(multiplier, shift);
}
OCTAVO_INLINE VI scaled(VI acc, const ScalesTwice& s) { return twice(acc, s); }
OCTAVO_INLINE VI scaled(VI acc, const ScalesOnce& s) { return once(acc, s); }

// `count` rows of NR vectors each, in the panel's column order.
template <int NR, bool kOnce>
__attribute__((noinline)) void store_rows(const int32_t* acc, int count, const GemmS8Tile& t) {
  uint8_t* c = static_cast<uint8_t*>(t.c);
  const Requant q = {set1_h(int16_t(t.zp)), set1_b(uint8_t(t.lo)), set1_b(uint8_t(t.hi))};
  decltype(load_scale<kOnce>(t, 0)) s[NR];
  for (int j = 0; j < NR; j++) s[j] = load_scale<kOnce>(t, j);
  // A packed vector holds four vectors of accumulators: one row (NR 3 or 4), two rows (NR 2) or four (NR 1).
  constexpr int kRows = NR >= 3 ? 1 : NR == 2 ? 2 : 4;
  for (int i = 0; i < count; i += kRows) {
    VI v[4];
    OCTAVO_UNROLL
    for (int k = 0; k < 4; k++) {
      const int row = i + (NR >= 3 ? 0 : k / NR), j = NR >= 3 ? (k < NR ? k : NR - 1) : k % NR;
      v[k] = scaled(load_i(acc + ((row < count ? row : i) * NR + j) * kLanes), s[j]);
    }
    VB y = packus16(adds16(packs32(v[0], v[1]), q.zp), adds16(packs32(v[2], v[3]), q.zp));
    y = min_u8(max_u8(y, q.lo), q.hi);
    if (NR < 4) y = gather_blocks(y);
    OCTAVO_UNROLL
    for (int r = 0; r < kRows; r++)
      if (i + r < count) store_span(c + (i + r) * t.ldc, y, r * NR * kLanes, t.cols);
  }
}

template <int MR, int NR>
OCTAVO_INLINE void store_tile(VI (&acc)[MR][NR], const GemmS8Tile& t) {
  alignas(64) int32_t rows[MR * NR * kLanes];
  OCTAVO_UNROLL
  for (int i = 0; i < MR; i++) OCTAVO_UNROLL
  for (int j = 0; j < NR; j++) store_i(rows + (i * NR + j) * kLanes, acc[i][j]);
  if (t.out == GemmS8Out::u8_once)
    store_rows<NR, true>(rows, MR, t);
  else
    store_rows<NR, false>(rows, MR, t);
}

// Second passes are eltwise_fixed's.
