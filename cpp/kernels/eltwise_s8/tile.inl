// The rows, written once over the vocabulary of simd/<isa>_i8.h. Included inside namespace octavo::<isa>, anonymous,
// after the ISA's `Centred centred(VB x, int32_t zp)`: fl32(x - zp), four vectors in the order of widen().

#define OCTAVO_INLINE inline __attribute__((always_inline))
#define OCTAVO_UNROLL _Pragma("GCC unroll 4")

struct Clamp {
  VF low, high;
  VH zp;
  VB lo, hi;
  OCTAVO_INLINE Clamp(int32_t z, int32_t l, int32_t h)
      : low(set1_f(float(l - z))),
        high(set1_f(float(h - z))),
        zp(set1_h(int16_t(z))),
        lo(set1_b(uint8_t(l))),
        hi(set1_b(uint8_t(h))) {}
};

// kSafe: values may be NaN or beyond int32; else the saturating packs clamp.
template <bool kSafe>
OCTAVO_INLINE VB finish(VF (&x)[4], const Clamp& c) {
  VI v[4];
  OCTAVO_UNROLL
  for (int j = 0; j < 4; j++) v[j] = to_i(kSafe ? max_f(min_f(zero_nan(x[j]), c.high), c.low) : x[j]);
  const VB y = packus16(adds16(packs32(v[0], v[1]), c.zp), adds16(packs32(v[2], v[3]), c.zp));
  return min_u8(max_u8(y, c.lo), c.hi);
}

template <bool kSafe>
struct Adder {
  const AddS8Params& p;
  Clamp c;
  VF sa, sb, sy;
  OCTAVO_INLINE explicit Adder(const AddS8Params& q)
      : p(q), c(q.zp, q.lo, q.hi), sa(set1_f(q.sa)), sb(set1_f(q.sb)), sy(set1_f(q.sy)) {}
  OCTAVO_INLINE VB operator()(VB a, VB b) const {
    const Centred u = centred(a, p.za), v = centred(b, p.zb);
    VF x[4];
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) x[j] = div_f(add_f(mul_f(u.v[j], sa), mul_f(v.v[j], sb)), sy);
    return finish<kSafe>(x, c);
  }
};

template <bool kSafe>
struct RatioAdder {
  const AddS8Params& p;
  Clamp c;
  VF s0, s1, part;
  OCTAVO_INLINE explicit RatioAdder(const AddS8Params& q)
      : p(q),
        c(q.zp, q.lo, q.hi),
        s0(set1_f(q.inner_a ? q.sa : q.sb)),
        s1(set1_f(q.inner_a ? q.sb : q.sa)),
        part(set1_f(q.c)) {}
  OCTAVO_INLINE VB operator()(VB a, VB b) const {
    const Centred u = p.inner_a ? centred(a, p.za) : centred(b, p.zb);
    const Centred v = p.inner_a ? centred(b, p.zb) : centred(a, p.za);
    VF x[4];
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) x[j] = fma_f(v.v[j], s1, fma_f(u.v[j], s0, part));
    return finish<kSafe>(x, c);
  }
};

template <bool kSafe>
struct Multiplier {
  const MulS8Params& p;
  Clamp c;
  VF m, before;
  OCTAVO_INLINE explicit Multiplier(const MulS8Params& q)
      : p(q), c(q.zp, q.lo, q.hi), m(set1_f(q.m)), before(set1_f(q.before)) {}
  OCTAVO_INLINE VB operator()(VB a, VB b) const {
    const Centred u = centred(a, p.za), v = centred(b, p.zb);
    VF x[4];
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++)  // the product of integers is exact
      x[j] = add_f(kSafe ? zero_nan(mul_f(mul_f(u.v[j], v.v[j]), m)) : mul_f(mul_f(u.v[j], v.v[j]), m), before);
    return finish<kSafe>(x, c);
  }
};

template <class F, bool kScalar>
OCTAVO_INLINE void run_rows(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb,
                            int64_t rows, int64_t cols, const F& f) {
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
         int64_t cols, const AddS8Params& p) {
  if (cols <= 0) return;
  if (p.ratio) {
    const float most = 255.0f * __builtin_fabsf(p.sa) + 255.0f * __builtin_fabsf(p.sb) + __builtin_fabsf(p.c);
    if (most < 1073741824.0f)
      run_rows<RatioAdder<false>, kScalar>(y, ldy, a, lda, b, ldb, rows, cols, RatioAdder<false>(p));
    else
      run_rows<RatioAdder<true>, kScalar>(y, ldy, a, lda, b, ldb, rows, cols, RatioAdder<true>(p));
    return;
  }
  // The same roundings in the same order, each monotone: no quotient of theirs can be larger.
  const float most = (255.0f * __builtin_fabsf(p.sa) + 255.0f * __builtin_fabsf(p.sb)) / p.sy;
  if (most < 1073741824.0f)
    run_rows<Adder<false>, kScalar>(y, ldy, a, lda, b, ldb, rows, cols, Adder<false>(p));
  else
    run_rows<Adder<true>, kScalar>(y, ldy, a, lda, b, ldb, rows, cols, Adder<true>(p));
}

template <bool kScalar>
void mul(uint8_t* y, int64_t ldy, const uint8_t* a, int64_t lda, const uint8_t* b, int64_t ldb, int64_t rows,
         int64_t cols, const MulS8Params& p) {
  if (cols <= 0) return;
  if (65025.0f * __builtin_fabsf(p.m) < 1073741824.0f)
    run_rows<Multiplier<false>, kScalar>(y, ldy, a, lda, b, ldb, rows, cols, Multiplier<false>(p));
  else
    run_rows<Multiplier<true>, kScalar>(y, ldy, a, lda, b, ldb, rows, cols, Multiplier<true>(p));
}
