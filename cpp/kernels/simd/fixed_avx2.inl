// The fixed scheme on xmm and ymm registers (AVX2). One macro serves both widths.
//
//   high_product(a, b)   floor((a * b + 2^30) / 2^31)
//   rounded_shift(x, n)  x / 2^n to the nearest, ties away from zero; 0 <= n <= 31
//   twice(x, scale)      rounded_shift(high_product(x << left, multiplier), right)
//   once(x, scale)       x * multiplier / 2^total to the nearest, ties away from zero; with a multiplier of 31 bits a
//                        result beyond a byte may come out smaller (but beyond a byte)
// clang-format off
#define OCTAVO_FIXED_X86(I, P, BITS, ODD)                                                                         \
  struct Twice_##BITS { I multiplier, left, right; };                                                             \
  struct Once_##BITS { I multiplier, total; };                                                                    \
  inline I high_product(I a, I b) {                                                                               \
    const I half = P##_set1_epi64x(1 << 30);                                                                      \
    const I even = P##_srli_epi64(P##_add_epi64(P##_mul_epi32(a, b), half), 31);                                  \
    const I odd = P##_add_epi64(P##_mul_epi32(P##_srli_epi64(a, 32), P##_srli_epi64(b, 32)), half);               \
    return P##_blend_epi32(even, P##_slli_epi64(odd, 1), ODD);                                                    \
  }                                                                                                               \
  inline I rounded_shift(I x, I n) {                                                                              \
    const I ones = P##_set1_epi32(-1), above = P##_sllv_epi32(ones, n);                                           \
    const I below = P##_andnot_##BITS(above, x);                                                                  \
    const I half = P##_sub_epi32(P##_srli_epi32(P##_andnot_##BITS(above, ones), 1), P##_srai_epi32(x, 31));       \
    return P##_sub_epi32(P##_srav_epi32(x, n), P##_cmpgt_epi32(below, half));                                     \
  }                                                                                                               \
  inline I twice(I x, const Twice_##BITS& s) {                                                                    \
    return rounded_shift(high_product(P##_sllv_epi32(x, s.left), s.multiplier), s.right);                         \
  }                                                                                                               \
  inline Twice_##BITS make_twice(I multiplier, I shift) {                                                         \
    const I zero = P##_set1_epi32(0);                                                                             \
    return {multiplier, P##_max_epi32(shift, zero), P##_max_epi32(P##_sub_epi32(zero, shift), zero)};             \
  }                                                                                                               \
  inline Once_##BITS make_once(I multiplier, I shift) {                                                           \
    return {multiplier, P##_sub_epi32(P##_set1_epi32(31), shift)};                                                \
  }                                                                                                               \
  inline I once_half(I magnitude, I multiplier, I total) {                                                        \
    const I half = P##_sllv_epi64(P##_set1_epi64x(1), P##_sub_epi64(total, P##_set1_epi64x(1)));                  \
    return P##_srlv_epi64(P##_add_epi64(P##_mul_epu32(magnitude, multiplier), half), total);                      \
  }                                                                                                               \
  inline I once(I x, const Once_##BITS& s) {                                                                      \
    const I ones = P##_set1_epi32(-1), sign = P##_srai_epi32(x, 31);                                              \
    const I cap = P##_xor_##BITS(P##_sllv_epi32(ones, s.total), ones);                                            \
    const I magnitude = P##_min_epu32(P##_abs_epi32(x), cap);                                                     \
    const I even = once_half(magnitude, s.multiplier, P##_and_##BITS(s.total, P##_set1_epi64x(0xffffffff)));      \
    const I odd = once_half(P##_srli_epi64(magnitude, 32), P##_srli_epi64(s.multiplier, 32),                      \
                            P##_srli_epi64(s.total, 32));                                                         \
    const I y = P##_blend_epi32(even, P##_slli_epi64(odd, 32), ODD);                                              \
    return P##_sub_epi32(P##_xor_##BITS(y, sign), sign);                                                          \
  }
// clang-format on
