// Products of few groups: their tiles are short and follow one another here, without a call for each. Included from
// avx512vnni.cpp. Small tiles, so that the next one's products run beside the end of the one before.

constexpr int kStripRows[kGemmS8MaxVectors] = {4, 4, 4, 2};

template <int NR, GemmS8Out kOut>
__attribute__((noinline)) void strip_to(const GemmS8Tile& first, int64_t tiles) {
  constexpr int MR = kStripRows[NR - 1];
  GemmS8Tile t = first;
  uint8_t* c = static_cast<uint8_t*>(t.c);
  for (int64_t i = 0; i < tiles; i++, t.a += MR * t.lda, c += MR * t.ldc) {
    VI acc[MR][NR];
    OCTAVO_UNROLL
    for (int j = 0; j < NR; j++) {
      const VI v = load_i(t.bias + j * kLanes);
      OCTAVO_UNROLL
      for (int r = 0; r < MR; r++) acc[r][j] = v;
    }
    const uint8_t *a = t.a, *b = static_cast<const uint8_t*>(t.b);
#pragma GCC unroll 1
    for (int k = 0; k < t.groups; k++, a += 4, b += kBytes * NR) multiply_group<MR, NR, false>(acc, a, t.lda, b);
    t.c = c;
    store_u8<MR, NR, kOut>(acc, t);
  }
}

template <int NR>
void strip(const GemmS8Tile& t, int64_t tiles) {
  if (t.out == GemmS8Out::u8_saturate)
    strip_to<NR, GemmS8Out::u8_saturate>(t, tiles);
  else
    strip_to<NR, GemmS8Out::u8_bytes>(t, tiles);
}
