// The fixed scheme's words, AVX-512: zmm here, narrower registers as AVX2 has them (fixed_avx2.inl says what they
// mean).
#pragma once

#include "kernels/simd/avx512vnni_i8.h"
#include "kernels/simd/fixed_avx2.inl"

namespace octavo::avx512vnni {
namespace {

OCTAVO_FIXED_X86(__m128i, _mm, si128, 0xA)
OCTAVO_FIXED_X86(__m256i, _mm256, si256, 0xAA)

struct Twice_si512 {
  __m512i multiplier, left, right;
};
struct Once_si512 {
  __m512i multiplier, total;
};

inline __m512i odd_lanes(__m512i even, __m512i odd) { return _mm512_mask_mov_epi32(even, 0xAAAA, odd); }

inline __m512i high_product(__m512i a, __m512i b) {
  const __m512i half = _mm512_set1_epi64(1 << 30);
  const __m512i even = _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epi32(a, b), half), 31);
  const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
  return odd_lanes(even, _mm512_slli_epi64(_mm512_add_epi64(odd, half), 1));
}

inline __m512i rounded_shift(__m512i x, __m512i n) {
  const __m512i ones = _mm512_set1_epi32(-1), above = _mm512_sllv_epi32(ones, n);
  const __m512i below = _mm512_andnot_si512(above, x);
  const __m512i mask = _mm512_andnot_si512(above, ones);
  const __m512i half = _mm512_sub_epi32(_mm512_srli_epi32(mask, 1), _mm512_srai_epi32(x, 31));
  const __m512i y = _mm512_srav_epi32(x, n);
  return _mm512_mask_sub_epi32(y, _mm512_cmpgt_epi32_mask(below, half), y, ones);
}

inline __m512i twice(__m512i x, const Twice_si512& s) {
  return rounded_shift(high_product(_mm512_sllv_epi32(x, s.left), s.multiplier), s.right);
}
inline Twice_si512 make_twice(__m512i multiplier, __m512i shift) {
  const __m512i zero = _mm512_setzero_si512();
  return {multiplier, _mm512_max_epi32(shift, zero), _mm512_max_epi32(_mm512_sub_epi32(zero, shift), zero)};
}
inline Once_si512 make_once(__m512i multiplier, __m512i shift) {
  return {multiplier, _mm512_sub_epi32(_mm512_set1_epi32(31), shift)};
}

inline __m512i once_half(__m512i magnitude, __m512i multiplier, __m512i total) {
  const __m512i one = _mm512_set1_epi64(1), half = _mm512_sllv_epi64(one, _mm512_sub_epi64(total, one));
  return _mm512_srlv_epi64(_mm512_add_epi64(_mm512_mul_epu32(magnitude, multiplier), half), total);
}
inline __m512i once(__m512i x, const Once_si512& s) {
  const __m512i ones = _mm512_set1_epi32(-1), sign = _mm512_srai_epi32(x, 31);
  const __m512i cap = _mm512_xor_si512(_mm512_sllv_epi32(ones, s.total), ones);
  const __m512i magnitude = _mm512_min_epu32(_mm512_abs_epi32(x), cap);
  const __m512i low = _mm512_and_si512(s.total, _mm512_set1_epi64(0xffffffff));
  const __m512i even = once_half(magnitude, s.multiplier, low);
  const __m512i odd =
      once_half(_mm512_srli_epi64(magnitude, 32), _mm512_srli_epi64(s.multiplier, 32), _mm512_srli_epi64(s.total, 32));
  const __m512i y = odd_lanes(even, _mm512_slli_epi64(odd, 32));
  return _mm512_sub_epi32(_mm512_xor_si512(y, sign), sign);
}

using ScalesTwice = Twice_si512;
using ScalesOnce = Once_si512;

}  // namespace
}  // namespace octavo::avx512vnni
