// The float vocabulary of level `avx512vnni`: sixteen lanes. Meaning: core/lane_f32.inl.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifndef OCTAVO_INLINE
#define OCTAVO_INLINE inline __attribute__((always_inline))
#endif

// GCC 12 takes the deliberately undefined pass-through operand of its own intrinsics for a bug of ours.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace octavo {
namespace avx512vnni {
namespace {

constexpr int kLanes = 16;
using vf = __m512;
using vi = __m512i;
using vm = __mmask16;

OCTAVO_INLINE vf vset(float x) { return _mm512_set1_ps(x); }
OCTAVO_INLINE vf vload(const float* p) { return _mm512_loadu_ps(p); }
OCTAVO_INLINE void vstore(float* p, vf x) { _mm512_storeu_ps(p, x); }
OCTAVO_INLINE vf vload_n(const float* p, int n) { return _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p); }
OCTAVO_INLINE void vstore_n(float* p, vf x, int n) { _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), x); }
OCTAVO_INLINE vf vadd(vf a, vf b) { return _mm512_add_ps(a, b); }
OCTAVO_INLINE vf vsub(vf a, vf b) { return _mm512_sub_ps(a, b); }
OCTAVO_INLINE vf vmul(vf a, vf b) { return _mm512_mul_ps(a, b); }
OCTAVO_INLINE vf vdiv(vf a, vf b) { return _mm512_div_ps(a, b); }
OCTAVO_INLINE vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
OCTAVO_INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
OCTAVO_INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
OCTAVO_INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
OCTAVO_INLINE vf vround(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
OCTAVO_INLINE vf vfloor(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
OCTAVO_INLINE vf vceil(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
OCTAVO_INLINE vf vabs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
OCTAVO_INLINE vf vneg(vf a) { return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a); }
OCTAVO_INLINE vf vcopysign(vf a, vf s) {
  const vf sign = _mm512_set1_ps(-0.0f);
  return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, s));
}
OCTAVO_INLINE vf vexp2i(vf n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
OCTAVO_INLINE vf vscale2(vf p, vf n) { return _mm512_scalef_ps(p, n); }
OCTAVO_INLINE vm vlt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
OCTAVO_INLINE vm vgt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
OCTAVO_INLINE vm vle(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
OCTAVO_INLINE vm vge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
OCTAVO_INLINE vm veq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
OCTAVO_INLINE vm vnan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
OCTAVO_INLINE vf vselect(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }

}  // namespace
}  // namespace avx512vnni
}  // namespace octavo
