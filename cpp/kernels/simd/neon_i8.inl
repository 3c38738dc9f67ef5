// The int8 SIMD vocabulary of every NEON level but for dot(); included inside namespace octavo::<isa>, anonymous.
// avx512vnni_i8.h says what each word means.

constexpr int kBytes = 16;
constexpr int kLanes = 4;

using VB = uint8x16_t;
using VI = int32x4_t;
using VH = int16x8_t;
using VF = float32x4_t;

inline VB set1_b(uint8_t x) { return vdupq_n_u8(x); }
inline VH set1_h(int16_t x) { return vdupq_n_s16(x); }
inline VI set1_i(int32_t x) { return vdupq_n_s32(x); }
inline VF set1_f(float x) { return vdupq_n_f32(x); }
inline VB set1_4(const void* p) {
  uint32_t x;
  __builtin_memcpy(&x, p, 4);
  return vreinterpretq_u8_u32(vdupq_n_u32(x));
}

inline void copy_bytes(void* to, const void* from, int n) {
  uint8_t* t = static_cast<uint8_t*>(to);
  const uint8_t* f = static_cast<const uint8_t*>(from);
  int i = 0;
  if (n & 8) __builtin_memcpy(t, f, 8), i += 8;
  if (n & 4) __builtin_memcpy(t + i, f + i, 4), i += 4;
  if (n & 2) __builtin_memcpy(t + i, f + i, 2), i += 2;
  if (n & 1) t[i] = f[i];
}

inline VB load_b(const void* p) { return vld1q_u8(static_cast<const uint8_t*>(p)); }
inline VB load_b(const void* p, int n) {
  if (n >= 16) return load_b(p);
  uint8_t t[16] = {};
  copy_bytes(t, p, n);
  return vld1q_u8(t);
}
inline void store_b(void* p, VB x) { vst1q_u8(static_cast<uint8_t*>(p), x); }
inline void store_b(void* p, VB x, int n) {
  if (n >= 16) return store_b(p, x);
  uint8_t t[16];
  vst1q_u8(t, x);
  copy_bytes(p, t, n);
}
inline VI load_i(const int32_t* p) { return vld1q_s32(p); }
inline VI load_i(const int32_t* p, int n) {
  if (n >= 4) return load_i(p);
  int32_t t[4] = {};
  for (int i = 0; i < n; i++) __builtin_memcpy(t + i, p + i, 4);
  return vld1q_s32(t);
}
inline void store_i(int32_t* p, VI x) { vst1q_s32(p, x); }
inline void store_i(int32_t* p, VI x, int n) {
  if (n >= 4) return store_i(p, x);
  int32_t t[4];
  vst1q_s32(t, x);
  for (int i = 0; i < n; i++) __builtin_memcpy(p + i, t + i, 4);
}
inline VF load_f(const float* p) { return vld1q_f32(p); }
inline VF load_f(const float* p, int n) {
  if (n >= 4) return load_f(p);
  float t[4] = {};
  for (int i = 0; i < n; i++) __builtin_memcpy(t + i, p + i, 4);
  return vld1q_f32(t);
}
inline void store_f(float* p, VF x) { vst1q_f32(p, x); }
inline void store_f(float* p, VF x, int n) {
  if (n >= 4) return store_f(p, x);
  float t[4];
  vst1q_f32(t, x);
  for (int i = 0; i < n; i++) __builtin_memcpy(p + i, t + i, 4);
}

inline VB unpack_lo8(VB a, VB b) { return vzip1q_u8(a, b); }
inline VB unpack_hi8(VB a, VB b) { return vzip2q_u8(a, b); }
inline VB unpack_lo16(VB a, VB b) {
  return vreinterpretq_u8_u16(vzip1q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
}
inline VB unpack_hi16(VB a, VB b) {
  return vreinterpretq_u8_u16(vzip2q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
}

inline VI add_i(VI a, VI b) { return vaddq_s32(a, b); }
inline VI sub_i(VI a, VI b) { return vsubq_s32(a, b); }
inline VI mul_i(VI a, VI b) { return vmulq_s32(a, b); }
inline VF mul_f(VF a, VF b) { return vmulq_f32(a, b); }
inline VF add_f(VF a, VF b) { return vaddq_f32(a, b); }
inline VF fma_f(VF a, VF b, VF c) { return vfmaq_f32(c, a, b); }
inline VF div_f(VF a, VF b) { return vdivq_f32(a, b); }
// Compare and select, not fmin/fmax: those treat NaN otherwise than x86.
inline VF min_f(VF a, VF b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline VF max_f(VF a, VF b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline VF zero_nan(VF a) { return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vceqq_f32(a, a))); }
inline VF to_f(VI a) { return vcvtq_f32_s32(a); }
inline VI to_i(VF a) { return vcvtnq_s32_f32(a); }

inline VH packs32(VI a, VI b) { return vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)); }
inline VH adds16(VH a, VH b) { return vqaddq_s16(a, b); }
inline VB packus16(VH a, VH b) { return vcombine_u8(vqmovun_s16(a), vqmovun_s16(b)); }
inline VB min_u8(VB a, VB b) { return vminq_u8(a, b); }
inline VB max_u8(VB a, VB b) { return vmaxq_u8(a, b); }
inline VB xor_b(VB a, VB b) { return veorq_u8(a, b); }
inline void widen(VB x, VI& a, VI& b, VI& c, VI& d) {
  const uint16x8_t lo = vmovl_u8(vget_low_u8(x)), hi = vmovl_high_u8(x);
  a = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(lo))), b = vreinterpretq_s32_u32(vmovl_high_u16(lo));
  c = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(hi))), d = vreinterpretq_s32_u32(vmovl_high_u16(hi));
}

inline VB gather_blocks(VB x) { return x; }
inline void store_span(uint8_t* p, VB x, int from, int n) {
  uint8_t t[32] = {};
  vst1q_u8(t, x);
  if (n >= 16) return store_b(p, x);
  copy_bytes(p, t + from, n);
}
template <int i>
inline void store_quarter(void* p, VB x) {
  const uint32_t v = vgetq_lane_u32(vreinterpretq_u32_u8(x), i);
  __builtin_memcpy(p, &v, 4);
}
template <int i>
inline void store_half(void* p, VB x) {
  vst1_u8(static_cast<uint8_t*>(p), i ? vget_high_u8(x) : vget_low_u8(x));
}

struct Table {
  uint8x16x4_t t[4];
};
inline Table load_table(const uint8_t* t) {
  Table r;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) r.t[i].val[j] = vld1q_u8(t + 64 * i + 16 * j);
  return r;
}
inline VB lookup(const Table& t, VB x) {
  const VB step = set1_b(64);  // an index out of range gives zero
  VB y = vqtbl4q_u8(t.t[0], x);
  for (int i = 1; i < 4; i++) {
    x = vsubq_u8(x, step);
    y = vorrq_u8(y, vqtbl4q_u8(t.t[i], x));
  }
  return y;
}
