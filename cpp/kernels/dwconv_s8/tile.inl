// The row kernels, once for every vector width V. Included inside namespace octavo::<isa>, anonymous.
// V brings: kBytes, types B I F H, and load/store, unpack, dot, convert and pack words as in simd/.

#define OCTAVO_INLINE inline __attribute__((always_inline))
#define OCTAVO_UNROLL _Pragma("GCC unroll 8")
#define OCTAVO_UNROLL_MORE _Pragma("GCC unroll 16")

template <class V, bool kPartial>
OCTAVO_INLINE typename V::B load_pixel(const uint8_t* p, const DwconvS8Row& r) {
  if constexpr (kPartial)
    return V::load_b(p, r.channels);
  else
    return V::load_b(p);
}

template <class V>
struct Column {
  typename V::B k[4];
};

template <class V>
OCTAVO_INLINE Column<V> interleave(typename V::B r0, typename V::B r1, typename V::B r2, typename V::B r3) {
  const auto a = V::lo8(r0, r1), b = V::hi8(r0, r1), c = V::lo8(r2, r3), d = V::hi8(r2, r3);
  return {{V::lo16(a, c), V::hi16(a, c), V::lo16(b, d), V::hi16(b, d)}};
}

#ifdef OCTAVO_FIXED
#include "kernels/dwconv_s8/fixed.inl"
#else
template <class V>
struct Requant {
  typename V::F low, high;
  typename V::H zp;
  typename V::B lo, hi;
  OCTAVO_INLINE explicit Requant(const DwconvS8Row& r)
      : low(V::set1_f(float(r.lo - r.zp))),
        high(V::set1_f(float(r.hi - r.zp))),
        zp(V::set1_h(int16_t(r.zp))),
        lo(V::set1_b(uint8_t(r.lo))),
        hi(V::set1_b(uint8_t(r.hi))) {}
};

template <class V>
OCTAVO_INLINE typename V::F load_scale(const DwconvS8Row& r, int at) {
  return V::load_f(r.m + at);
}

constexpr bool serves(DwconvS8Out) { return true; }

template <class V, DwconvS8Out kOut>
OCTAVO_INLINE typename V::I scaled(typename V::I acc, typename V::F m, const Requant<V>& q) {
  auto x = V::mul_f(V::to_f(acc), m);
  if (kOut == DwconvS8Out::u8_safe) x = V::max_f(V::min_f(x, q.high), q.low);
  return V::to_i(x);
}
#endif

template <class V, DwconvS8Out kOut, bool kPartial>
OCTAVO_INLINE void store_pixel(uint8_t* y, typename V::H first, typename V::H second, const Requant<V>& q,
                               const DwconvS8Row& r) {
  auto v = V::packus16(first, second);
  if (kOut == DwconvS8Out::u8_fast) v = V::min_u8(V::max_u8(v, q.lo), q.hi);
  if constexpr (kPartial)
    V::store_b(y, v, r.channels);
  else
    V::store_b(y, v);
}

// NX columns by NY rows of outputs from (NX - 1) * S + 3 interleaved columns. Each weight vector is loaded once.
// NW: s8 values that add up to a weight (two only where NY is one).
template <class V, int NX, int NY, int NW, int S, DwconvS8Out kOut, bool kPartial>
OCTAVO_INLINE void step3x3(const Column<V>* column, const DwconvS8Row& r, const Requant<V>& q, uint8_t* y) {
  constexpr int kB = V::kBytes, kL = V::kBytes / 4;
  typename V::I even[NY][NX];
  typename V::H half[NY][NX];
  OCTAVO_UNROLL
  for (int k = 0; k < 4; k++) {
    typename V::I acc[NY][NX];
    const auto bias = V::load_i(r.bias + kL * k);
    const int8_t* w = r.w + k * 6 * kB;
    OCTAVO_UNROLL
    for (int j = 0; j < NY; j++) OCTAVO_UNROLL
    for (int i = 0; i < NX; i++) acc[j][i] = bias;
    OCTAVO_UNROLL
    for (int c = 0; c < 3; c++) OCTAVO_UNROLL
    for (int j = 0; j < NY * NW; j++) {
      const auto weight = V::load_b(reinterpret_cast<const uint8_t*>(w + (c * 2 + j) * kB));
      OCTAVO_UNROLL
      for (int i = 0; i < NX; i++) V::dot(acc[j / NW][i], column[i * S + c].k[k], weight);
    }
    const auto m = load_scale<V>(r, kL * k);
    OCTAVO_UNROLL
    for (int j = 0; j < NY; j++) OCTAVO_UNROLL
    for (int i = 0; i < NX; i++) {
      const auto v = scaled<V, kOut>(acc[j][i], m, q);
      if (k == 0 || k == 2)
        even[j][i] = v;
      else if (k == 1)
        half[j][i] = V::adds16(V::packs32(even[j][i], v), q.zp);
      else
        store_pixel<V, kOut, kPartial>(y + j * r.y_row + i * r.y_pixel, half[j][i],
                                       V::adds16(V::packs32(even[j][i], v), q.zp), q, r);
    }
  }
}

template <class V, int NY, int NW, DwconvS8Out kOut, bool kPartial>
__attribute__((noinline)) void row_s1(const DwconvS8Row& r) {
  const Requant<V> q(r);
  const uint8_t* x = r.x;
  uint8_t* y = static_cast<uint8_t*>(r.y);
  const int64_t row = r.row, pixel = r.pixel;
  auto load = [&](const uint8_t* p) __attribute__((always_inline)) {
    const auto r3 = NY == 2 ? load_pixel<V, kPartial>(p + 3 * row, r) : V::zero();
    return interleave<V>(load_pixel<V, kPartial>(p, r), load_pixel<V, kPartial>(p + row, r),
                         load_pixel<V, kPartial>(p + 2 * row, r), r3);
  };
  Column<V> column[4];
  column[0] = load(x), column[1] = load(x + pixel);
  x += 2 * pixel;
  int i = 0;
  for (; i + 2 <= r.columns; i += 2, x += 2 * pixel, y += 2 * r.y_pixel) {
    column[2] = load(x), column[3] = load(x + pixel);
    step3x3<V, 2, NY, NW, 1, kOut, kPartial>(column, r, q, y);
    column[0] = column[2], column[1] = column[3];
  }
  if (i < r.columns) {
    column[2] = load(x);
    step3x3<V, 1, NY, NW, 1, kOut, kPartial>(column, r, q, y);
  }
}

// Blocks of neighbouring pixels: the taps are one pixel apart, outputs one block.
template <class V, int NY, DwconvS8Out kOut, bool kPartial>
__attribute__((noinline)) void row_s1_dense(const DwconvS8Row& r) {
  const Requant<V> q(r);
  const uint8_t* x = r.x;
  uint8_t* y = static_cast<uint8_t*>(r.y);
  const int64_t row = r.row, pixel = r.pixel;
  for (int i = 0; i < r.columns; i++, x += V::kBytes, y += V::kBytes) {
    Column<V> column[3];
    OCTAVO_UNROLL
    for (int c = 0; c < 3; c++) {
      const uint8_t* p = x + c * pixel;
      const auto r3 = NY == 2 ? load_pixel<V, kPartial>(p + 3 * row, r) : V::zero();
      column[c] = interleave<V>(load_pixel<V, kPartial>(p, r), load_pixel<V, kPartial>(p + row, r),
                                load_pixel<V, kPartial>(p + 2 * row, r), r3);
    }
    step3x3<V, 1, NY, 1, 1, kOut, kPartial>(column, r, q, y);
  }
}

template <class V, int NW, DwconvS8Out kOut, bool kPartial>
__attribute__((noinline)) void row_s2(const DwconvS8Row& r) {
  const Requant<V> q(r);
  const uint8_t* x = r.x;
  uint8_t* y = static_cast<uint8_t*>(r.y);
  const int64_t row = r.row, pixel = r.pixel;
  auto load = [&](const uint8_t* p) __attribute__((always_inline)) {
    return interleave<V>(load_pixel<V, kPartial>(p, r), load_pixel<V, kPartial>(p + row, r),
                         load_pixel<V, kPartial>(p + 2 * row, r), V::zero());
  };
  Column<V> column[5];
  column[0] = load(x);
  x += pixel;
  int i = 0;
  for (; i + 2 <= r.columns; i += 2, x += 4 * pixel, y += 2 * r.y_pixel) {
    OCTAVO_UNROLL
    for (int c = 0; c < 4; c++) column[1 + c] = load(x + c * pixel);
    step3x3<V, 2, 1, NW, 2, kOut, kPartial>(column, r, q, y);
    column[0] = column[4];
  }
  if (i < r.columns) {
    column[1] = load(x), column[2] = load(x + pixel);
    step3x3<V, 1, 1, NW, 2, kOut, kPartial>(column, r, q, y);
  }
}

// NX outputs from a list of taps, four at a time.
template <class V, int NX, DwconvS8Out kOut, bool kPartial>
OCTAVO_INLINE void step_general(const uint8_t* x, const DwconvS8Row& r, const Requant<V>& q, int64_t done) {
  constexpr int kB = V::kBytes, kL = V::kBytes / 4;
  typename V::I acc[4][NX];
  OCTAVO_UNROLL
  for (int k = 0; k < 4; k++) OCTAVO_UNROLL
  for (int i = 0; i < NX; i++) acc[k][i] = V::load_i(r.bias + kL * k);
  const int64_t* tap = r.taps;
  const int8_t* w = r.w;
  for (int g = 0; g < r.groups; g++, tap += 4, w += 4 * kB) {
    Column<V> column[NX];
    OCTAVO_UNROLL
    for (int i = 0; i < NX; i++) {
      const uint8_t* p = x + i * r.step;
      column[i] = interleave<V>(load_pixel<V, kPartial>(p + tap[0], r), load_pixel<V, kPartial>(p + tap[1], r),
                                load_pixel<V, kPartial>(p + tap[2], r), load_pixel<V, kPartial>(p + tap[3], r));
    }
    OCTAVO_UNROLL
    for (int k = 0; k < 4; k++) {
      const auto weight = V::load_b(reinterpret_cast<const uint8_t*>(w + k * kB));
      OCTAVO_UNROLL
      for (int i = 0; i < NX; i++) V::dot(acc[k][i], column[i].k[k], weight);
    }
  }
  OCTAVO_UNROLL
  for (int i = 0; i < NX; i++) {
    if constexpr (kOut == DwconvS8Out::f32) {
      alignas(64) float t[4 * kL];
      OCTAVO_UNROLL
      for (int k = 0; k < 4; k++) V::store_f(t + kL * k, V::mul_f(V::to_f(acc[k][i]), V::load_f(r.m + kL * k)));
      float* y = static_cast<float*>(r.y) + (done + i) * r.y_pixel;
      for (int c = 0; c < r.channels; c++) y[c] = t[c / 4 % 4 * kL + c / 16 * 4 + c % 4];
    } else {
      typename V::I v[4];
      OCTAVO_UNROLL
      for (int k = 0; k < 4; k++) v[k] = scaled<V, kOut>(acc[k][i], load_scale<V>(r, kL * k), q);
      store_pixel<V, kOut, kPartial>(static_cast<uint8_t*>(r.y) + (done + i) * r.y_pixel,
                                     V::adds16(V::packs32(v[0], v[1]), q.zp), V::adds16(V::packs32(v[2], v[3]), q.zp),
                                     q, r);
    }
  }
}

template <class V, DwconvS8Out kOut, bool kPartial>
__attribute__((noinline)) void row_general(const DwconvS8Row& r) {
  const Requant<V> q(r);
  int i = 0;
  for (; i + 2 <= r.columns; i += 2) step_general<V, 2, kOut, kPartial>(r.x + i * r.step, r, q, i);
  if (i < r.columns) step_general<V, 1, kOut, kPartial>(r.x + i * r.step, r, q, i);
}

#include "kernels/dwconv_s8/tile5x5.inl"

// The table's initialisers: one kind over the ISA's widths (W64 .. W16 are V types or void).
template <class V>
struct Rows {
  template <DwconvS8Kind kKind, DwconvS8Out kOut, bool kPartial>
  static constexpr DwconvS8::RowFn fn() {
    if constexpr ((kKind != DwconvS8Kind::general && kOut == DwconvS8Out::f32) || (kPartial && !V::kPartial) ||
                  !serves(kOut))
      return nullptr;
    else if constexpr (kKind == DwconvS8Kind::s1_two_rows)
      return row_s1<V, 2, 1, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s1_one_row)
      return row_s1<V, 1, 1, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s1_two_dense)
      return row_s1_dense<V, 2, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s1_one_dense)
      return row_s1_dense<V, 1, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s2)
      return row_s2<V, 1, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s1_wide)
      return row_s1<V, 1, 2, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s2_wide)
      return row_s2<V, 2, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s1_5x5)
      return row_5x5<V, 1, kOut, kPartial>;
    else if constexpr (kKind == DwconvS8Kind::s2_5x5)
      return row_5x5<V, 2, kOut, kPartial>;
    else
      return row_general<V, kOut, kPartial>;
  }
};
template <>
struct Rows<void> {
  template <DwconvS8Kind, DwconvS8Out, bool>
  static constexpr DwconvS8::RowFn fn() {
    return nullptr;
  }
};

#define OCTAVO_DW_WIDTH(width, kind, out)                          \
  {Rows<width>::fn<DwconvS8Kind::kind, DwconvS8Out::out, false>(), \
   Rows<width>::fn<DwconvS8Kind::kind, DwconvS8Out::out, true>()}
#define OCTAVO_DW_OUT(kind, out) \
  {OCTAVO_DW_WIDTH(W64, kind, out), OCTAVO_DW_WIDTH(W32, kind, out), OCTAVO_DW_WIDTH(W16, kind, out)}
#define OCTAVO_DW_KIND(kind) {OCTAVO_DW_OUT(kind, u8_fast), OCTAVO_DW_OUT(kind, u8_safe), OCTAVO_DW_OUT(kind, f32)}
#define OCTAVO_DW_TABLE                                                                       \
  {                                                                                           \
      OCTAVO_DW_KIND(s1_two_rows),  OCTAVO_DW_KIND(s1_one_row), OCTAVO_DW_KIND(s1_two_dense), \
      OCTAVO_DW_KIND(s1_one_dense), OCTAVO_DW_KIND(s2),         OCTAVO_DW_KIND(s1_wide),      \
      OCTAVO_DW_KIND(s2_wide),      OCTAVO_DW_KIND(s1_5x5),     OCTAVO_DW_KIND(s2_5x5),       \
      OCTAVO_DW_KIND(general)}
