// The float vocabulary with one lane: the scalar twin of kernels/simd/<isa>_f32.h. Included inside a namespace, by
// core/math.cpp (where it defines what every function means) and by the scalar kernels.
//
// Every name below exists in each vocabulary. All operations are IEEE single operations rounded to nearest-even;
// vmin/vmax are x86's: the second operand when either is NaN or both are equal.
#ifndef OCTAVO_INLINE
#define OCTAVO_INLINE inline __attribute__((always_inline))
#endif

constexpr int kLanes = 1;
using vf = float;
using vi = int32_t;
using vm = bool;

OCTAVO_INLINE vf vset(float x) { return x; }
OCTAVO_INLINE vf vload(const float* p) { return *p; }
OCTAVO_INLINE void vstore(float* p, vf x) { *p = x; }
// The first n < kLanes elements; the others read as zero and are never touched.
OCTAVO_INLINE vf vload_n(const float* p, int n) { return n > 0 ? *p : 0.0f; }
OCTAVO_INLINE void vstore_n(float* p, vf x, int n) {
  if (n > 0) *p = x;
}
OCTAVO_INLINE vf vadd(vf a, vf b) { return a + b; }
OCTAVO_INLINE vf vsub(vf a, vf b) { return a - b; }
OCTAVO_INLINE vf vmul(vf a, vf b) { return a * b; }
OCTAVO_INLINE vf vdiv(vf a, vf b) { return a / b; }
OCTAVO_INLINE vf vsqrt(vf a) { return __builtin_sqrtf(a); }
OCTAVO_INLINE vf vfma(vf a, vf b, vf c) { return __builtin_fmaf(a, b, c); }
OCTAVO_INLINE vf vmin(vf a, vf b) { return a < b ? a : b; }
OCTAVO_INLINE vf vmax(vf a, vf b) { return a > b ? a : b; }
OCTAVO_INLINE vf vround(vf a) { return __builtin_nearbyintf(a); }
OCTAVO_INLINE vf vfloor(vf a) { return __builtin_floorf(a); }
OCTAVO_INLINE vf vceil(vf a) { return __builtin_ceilf(a); }
OCTAVO_INLINE vi vbits(vf a) {
  int32_t i;
  __builtin_memcpy(&i, &a, 4);
  return i;
}
OCTAVO_INLINE vf vfloat_bits(vi a) {
  float f;
  __builtin_memcpy(&f, &a, 4);
  return f;
}
OCTAVO_INLINE vf vabs(vf a) { return vfloat_bits(vbits(a) & 0x7fffffff); }
OCTAVO_INLINE vf vneg(vf a) { return vfloat_bits(vbits(a) ^ int32_t(0x80000000u)); }
// |a| with the sign bit of s.
OCTAVO_INLINE vf vcopysign(vf a, vf s) {
  return vfloat_bits((vbits(a) & 0x7fffffff) | (vbits(s) & int32_t(0x80000000u)));
}
// 2^n for integral n in [-126, 127]; anything for other n (NaN included).
OCTAVO_INLINE vf vexp2i(vf n) {
  const int32_t i = n >= -126.0f && n <= 127.0f ? int32_t(n) : 0;
  return vfloat_bits((i + 127) << 23);
}
// p * 2^n, for such n and results in the normal range; anything for others.
OCTAVO_INLINE vf vscale2(vf p, vf n) { return p * vexp2i(n); }
OCTAVO_INLINE vm vlt(vf a, vf b) { return a < b; }
OCTAVO_INLINE vm vgt(vf a, vf b) { return a > b; }
OCTAVO_INLINE vm vle(vf a, vf b) { return a <= b; }
OCTAVO_INLINE vm vge(vf a, vf b) { return a >= b; }
OCTAVO_INLINE vm veq(vf a, vf b) { return a == b; }
OCTAVO_INLINE vm vnan(vf a) { return !(a == a); }
// m ? a : b
OCTAVO_INLINE vf vselect(vm m, vf a, vf b) { return m ? a : b; }
