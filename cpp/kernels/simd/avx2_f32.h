// The float vocabulary of level `avx2` (with FMA): eight lanes. Meaning: core/lane_f32.inl.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifndef OCTAVO_INLINE
#define OCTAVO_INLINE inline __attribute__((always_inline))
#endif

namespace octavo {
namespace avx2 {
namespace {

constexpr int kLanes = 8;
using vf = __m256;
using vi = __m256i;
using vm = __m256;

OCTAVO_INLINE vf vset(float x) { return _mm256_set1_ps(x); }
OCTAVO_INLINE vf vload(const float* p) { return _mm256_loadu_ps(p); }
OCTAVO_INLINE void vstore(float* p, vf x) { _mm256_storeu_ps(p, x); }
OCTAVO_INLINE vi lane_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
OCTAVO_INLINE vf vload_n(const float* p, int n) { return _mm256_maskload_ps(p, lane_mask(n)); }
OCTAVO_INLINE void vstore_n(float* p, vf x, int n) { _mm256_maskstore_ps(p, lane_mask(n), x); }
OCTAVO_INLINE vf vadd(vf a, vf b) { return _mm256_add_ps(a, b); }
OCTAVO_INLINE vf vsub(vf a, vf b) { return _mm256_sub_ps(a, b); }
OCTAVO_INLINE vf vmul(vf a, vf b) { return _mm256_mul_ps(a, b); }
OCTAVO_INLINE vf vdiv(vf a, vf b) { return _mm256_div_ps(a, b); }
OCTAVO_INLINE vf vsqrt(vf a) { return _mm256_sqrt_ps(a); }
OCTAVO_INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
OCTAVO_INLINE vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
OCTAVO_INLINE vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
OCTAVO_INLINE vf vround(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
OCTAVO_INLINE vf vfloor(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
OCTAVO_INLINE vf vceil(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
OCTAVO_INLINE vf vabs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
OCTAVO_INLINE vf vneg(vf a) { return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a); }
OCTAVO_INLINE vf vcopysign(vf a, vf s) {
  const vf sign = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, s));
}
OCTAVO_INLINE vf vexp2i(vf n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
OCTAVO_INLINE vf vscale2(vf p, vf n) { return vmul(p, vexp2i(n)); }
OCTAVO_INLINE vm vlt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
OCTAVO_INLINE vm vgt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
OCTAVO_INLINE vm vle(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
OCTAVO_INLINE vm vge(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
OCTAVO_INLINE vm veq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
OCTAVO_INLINE vm vnan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
OCTAVO_INLINE vf vselect(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }

}  // namespace
}  // namespace avx2
}  // namespace octavo
