// The row kernels for 5 x 5, stride S, one output row. Included from tile.inl.
//
// Taps, 28 slots for 25: rows 0 to 3 of each column are one group of four (V), and row 4 makes groups of four
// horizontal neighbours (H), two of which hold the five taps of an output. Four columns and their H group are a block;
// blocks wait in a small ring in first-level cache, for 8 of them would not fit the registers. A step makes four
// outputs from the blocks there are, and between its dot products interleaves the pixels of the next step.

template <class V, int S>
struct Blocks5x5 {
  static constexpr int kUsed = S == 1 ? 2 : 3, kCount = kUsed + S;
  static constexpr int kVectors = 5;  // of each k: four columns, then H
  uint8_t* block[kCount];
  const uint8_t *next, *last;  // pixel to load; the last that exists, which stands in for those after it

  static constexpr int at(int k, int column) { return (k * kVectors + column) * V::kBytes; }

  template <bool kPartial>
  OCTAVO_INLINE void fill(int b, int column, typename V::B (&row4)[4], const DwconvS8Row& r) {
    const uint8_t* p = next;
    const auto v = interleave<V>(load_pixel<V, kPartial>(p, r), load_pixel<V, kPartial>(p + r.row, r),
                                 load_pixel<V, kPartial>(p + 2 * r.row, r), load_pixel<V, kPartial>(p + 3 * r.row, r));
    row4[column] = load_pixel<V, kPartial>(p + 4 * r.row, r);
    OCTAVO_UNROLL
    for (int k = 0; k < 4; k++) V::store_b(block[b] + at(k, column), v.k[k]);
    next = p + (r.pixel & -int64_t(p != last));
  }
  OCTAVO_INLINE void close(int b, const typename V::B (&row4)[4]) {
    const auto h = interleave<V>(row4[0], row4[1], row4[2], row4[3]);
    OCTAVO_UNROLL
    for (int k = 0; k < 4; k++) V::store_b(block[b] + at(k, 4), h.k[k]);
  }
  OCTAVO_INLINE void rotate() {
    uint8_t* old[S];
    OCTAVO_UNROLL
    for (int b = 0; b < S; b++) old[b] = block[b];
    OCTAVO_UNROLL
    for (int b = 0; b + S < kCount; b++) block[b] = block[b + S];
    OCTAVO_UNROLL
    for (int b = 0; b < S; b++) block[kCount - S + b] = old[b];
  }
};

// The first `n` <= NX outputs. kFill: also loads the S blocks after those in use.
template <class V, int NX, int S, DwconvS8Out kOut, bool kPartial, bool kFill>
OCTAVO_INLINE void step5x5(Blocks5x5<V, S>& ring, const DwconvS8Row& r, const Requant<V>& q, uint8_t* y, int n) {
  constexpr int kB = V::kBytes, kL = V::kBytes / 4;
  using Ring = Blocks5x5<V, S>;
  typename V::I even[NX];
  typename V::H half[NX];
  typename V::B row4[S][4];
  OCTAVO_UNROLL
  for (int k = 0; k < 4; k++) {
    typename V::I acc[NX];
    const auto bias = V::load_i(r.bias + kL * k);
    const auto* w = reinterpret_cast<const uint8_t*>(r.w + k * 13 * kB);
    OCTAVO_UNROLL
    for (int i = 0; i < NX; i++) acc[i] = bias;
    typename V::B weight[5];
    OCTAVO_UNROLL
    for (int t = 0; t < 5; t++) weight[t] = V::load_b(w + t * kB);
    OCTAVO_UNROLL_MORE
    for (int c = 0; c < (NX - 1) * S + 5; c++) {
      const auto column = V::load_b(ring.block[c / 4] + Ring::at(k, c % 4));
      OCTAVO_UNROLL
      for (int i = 0; i < NX; i++)
        if (c >= i * S && c < i * S + 5) V::dot(acc[i], column, weight[c - i * S]);
    }
    if constexpr (kFill) {
      OCTAVO_UNROLL
      for (int i = k * S; i < (k + 1) * S; i++)
        ring.template fill<kPartial>(Ring::kUsed + i / 4, i % 4, row4[i / 4], r);
    }
    OCTAVO_UNROLL
    for (int h = 0; h < 2; h++) OCTAVO_UNROLL
    for (int i = 0; i < NX; i++) {
      const auto row = V::load_b(ring.block[i * S / 4 + h] + Ring::at(k, 4));
      V::dot(acc[i], row, V::load_b(w + (5 + i * S % 4 * 2 + h) * kB));
    }
    const auto m = load_scale<V>(r, kL * k);
    OCTAVO_UNROLL
    for (int i = 0; i < NX; i++) {
      const auto v = scaled<V, kOut>(acc[i], m, q);
      if (k == 0 || k == 2)
        even[i] = v;
      else if (k == 1)
        half[i] = V::adds16(V::packs32(even[i], v), q.zp);
      else if (kFill || i < n)
        store_pixel<V, kOut, kPartial>(y + i * r.y_pixel, half[i], V::adds16(V::packs32(even[i], v), q.zp), q, r);
    }
  }
  if constexpr (kFill) {
    OCTAVO_UNROLL
    for (int b = 0; b < S; b++) ring.close(Ring::kUsed + b, row4[b]);
    ring.rotate();
  }
}

template <class V, int S, DwconvS8Out kOut, bool kPartial>
__attribute__((noinline)) void row_5x5(const DwconvS8Row& row) {
  using Ring = Blocks5x5<V, S>;
  constexpr int kBlock = 4 * Ring::kVectors * V::kBytes;
  const DwconvS8Row r = row;  // a copy: the compiler sees that no store changes it
  const Requant<V> q(r);
  alignas(64) uint8_t memory[Ring::kCount * kBlock];
  uint8_t* first = memory;
  asm("" : "+r"(first) : : "memory");
  Ring ring;
  ring.next = r.x, ring.last = r.x + (int64_t(r.columns - 1) * S + 4) * r.pixel;
  for (int b = 0; b < Ring::kCount; b++) ring.block[b] = first + b * kBlock;
  OCTAVO_UNROLL
  for (int b = 0; b < Ring::kUsed; b++) {
    typename V::B row4[4];
    OCTAVO_UNROLL
    for (int c = 0; c < 4; c++) ring.template fill<kPartial>(b, c, row4, r);
    ring.close(b, row4);
  }
  uint8_t* y = static_cast<uint8_t*>(r.y);
  int left = r.columns;
  for (; left > 4; left -= 4, y += 4 * r.y_pixel) step5x5<V, 4, S, kOut, kPartial, true>(ring, r, q, y, 4);
  if (left > 2)
    step5x5<V, 4, S, kOut, kPartial, false>(ring, r, q, y, left);
  else if (left > 0)
    step5x5<V, 2, S, kOut, kPartial, false>(ring, r, q, y, left);
}
