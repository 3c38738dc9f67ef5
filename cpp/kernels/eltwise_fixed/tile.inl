// The rows, written once over the vocabulary of simd/<isa>_fixed.h. Included inside namespace octavo::<isa>, anonymous.

#define OCTAVO_INLINE inline __attribute__((always_inline))
#define OCTAVO_UNROLL _Pragma("GCC unroll 4")

struct Clamp {
  VH zp;
  VB lo, hi;
  OCTAVO_INLINE Clamp(int32_t z, int32_t l, int32_t h)
      : zp(set1_h(int16_t(z))), lo(set1_b(uint8_t(l))), hi(set1_b(uint8_t(h))) {}
};

OCTAVO_INLINE VB finish(const VI (&v)[4], const Clamp& c) {
  const VB y = packus16(adds16(packs32(v[0], v[1]), c.zp), adds16(packs32(v[2], v[3]), c.zp));
  return min_u8(max_u8(y, c.lo), c.hi);
}

OCTAVO_INLINE ScalesTwice factor(FixedFactor f) { return make_twice(set1_i(f.multiplier), set1_i(f.shift)); }

struct Adder {
  Clamp c;
  ScalesTwice ma, mb, my;
  VI za, zb, left;
  OCTAVO_INLINE explicit Adder(const AddFixedParams& p)
      : c(p.zp, p.lo, p.hi),
        ma(factor(p.a)),
        mb(factor(p.b)),
        my(factor(p.y)),
        za(set1_i(p.za)),
        zb(set1_i(p.zb)),
        left(set1_i(1 << kAddFixedLeft)) {}
  OCTAVO_INLINE VB operator()(VB a, VB b) const {
    VI u[4], v[4];
    widen(a, u[0], u[1], u[2], u[3]);
    widen(b, v[0], v[1], v[2], v[3]);
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) {
      const VI x = twice(mul_i(sub_i(u[j], za), left), ma), z = twice(mul_i(sub_i(v[j], zb), left), mb);
      u[j] = twice(add_i(x, z), my);
    }
    return finish(u, c);
  }
};

struct Multiplier {
  Clamp c;
  ScalesTwice m;
  VI za, zb;
  OCTAVO_INLINE explicit Multiplier(const MulFixedParams& p)
      : c(p.zp, p.lo, p.hi), m(factor(p.m)), za(set1_i(p.za)), zb(set1_i(p.zb)) {}
  OCTAVO_INLINE VB operator()(VB a, VB b) const {
    VI u[4], v[4];
    widen(a, u[0], u[1], u[2], u[3]);
    widen(b, v[0], v[1], v[2], v[3]);
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) u[j] = twice(mul_i(sub_i(u[j], za), sub_i(v[j], zb)), m);
    return finish(u, c);
  }
};

template <bool kScalar, class F>
OCTAVO_INLINE void run_rows(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb,
                            int64_t rows, int64_t cols, const F& f) {
  if (cols <= 0) return;
  for (int64_t r = 0; r < rows; r++, y += ldy, a += lda, b += ldb) {
    const VB one = set1_b(b[0]);
    int64_t n = 0;
    for (; n + kBytes <= cols; n += kBytes) store_b(y + n, f(load_b(a + n), kScalar ? one : load_b(b + n)));
    const int left = int(cols - n);
    if (left > 0) store_b(y + n, f(load_b(a + n, left), kScalar ? one : load_b(b + n, left)), left);
  }
}

template <bool kScalar>
void add(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb, int64_t rows,
         int64_t cols, const AddFixedParams& p) {
  run_rows<kScalar>(y, ldy, a, lda, b, ldb, rows, cols, Adder(p));
}

template <bool kScalar>
void mul(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb, int64_t rows,
         int64_t cols, const MulFixedParams& p) {
  run_rows<kScalar>(y, ldy, a, lda, b, ldb, rows, cols, Multiplier(p));
}
