// The int8 SIMD vocabulary, AVX2: vectors of 32 bytes or 8 lanes. See avx512vnni_i8.h for what each word means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace octavo::avx2 {
namespace {

constexpr int kBytes = 32;
constexpr int kLanes = 8;

using VB = __m256i;
using VI = __m256i;
using VH = __m256i;
using VF = __m256;

inline VB set1_b(uint8_t x) { return _mm256_set1_epi8(char(x)); }
inline VH set1_h(int16_t x) { return _mm256_set1_epi16(x); }
inline VI set1_i(int32_t x) { return _mm256_set1_epi32(x); }
inline VF set1_f(float x) { return _mm256_set1_ps(x); }
inline VB set1_4(const void* p) {
  int32_t x;
  __builtin_memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}

inline void copy_bytes(void* to, const void* from, int n) {
  uint8_t* t = static_cast<uint8_t*>(to);
  const uint8_t* f = static_cast<const uint8_t*>(from);
  int i = 0;
  if (n & 16) __builtin_memcpy(t, f, 16), i += 16;
  if (n & 8) __builtin_memcpy(t + i, f + i, 8), i += 8;
  if (n & 4) __builtin_memcpy(t + i, f + i, 4), i += 4;
  if (n & 2) __builtin_memcpy(t + i, f + i, 2), i += 2;
  if (n & 1) t[i] = f[i];
}

inline VB load_b(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline VB load_b(const void* p, int n) {
  if (n >= 32) return load_b(p);
  alignas(32) uint8_t t[32] = {};
  copy_bytes(t, p, n);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(t));
}
inline void store_b(void* p, VB x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
inline void store_b(void* p, VB x, int n) {
  if (n >= 32) return store_b(p, x);
  alignas(32) uint8_t t[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(t), x);
  copy_bytes(p, t, n);
}
inline __m256i lanes_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline VI load_i(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline VI load_i(const int32_t* p, int n) { return _mm256_maskload_epi32(p, lanes_mask(n)); }
inline void store_i(int32_t* p, VI x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
inline void store_i(int32_t* p, VI x, int n) { _mm256_maskstore_epi32(p, lanes_mask(n), x); }
inline VF load_f(const float* p) { return _mm256_loadu_ps(p); }
inline VF load_f(const float* p, int n) { return _mm256_maskload_ps(p, lanes_mask(n)); }
inline void store_f(float* p, VF x) { _mm256_storeu_ps(p, x); }
inline void store_f(float* p, VF x, int n) { _mm256_maskstore_ps(p, lanes_mask(n), x); }

inline VB unpack_lo8(VB a, VB b) { return _mm256_unpacklo_epi8(a, b); }
inline VB unpack_hi8(VB a, VB b) { return _mm256_unpackhi_epi8(a, b); }
inline VB unpack_lo16(VB a, VB b) { return _mm256_unpacklo_epi16(a, b); }
inline VB unpack_hi16(VB a, VB b) { return _mm256_unpackhi_epi16(a, b); }

// Exact: bytes 0,2 and 1,3 of each lane are widened to int16 and multiplied by vpmaddwd (vpmaddubsw would saturate).
// A weight that stays the same through a loop is widened once: the compiler hoists it.
inline void dot(VI& acc, VB u, VB s) {
  const __m256i even = _mm256_and_si256(u, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(u, 8);
  const __m256i s_even = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8), s_odd = _mm256_srai_epi16(s, 8);
  acc = _mm256_add_epi32(acc, _mm256_add_epi32(_mm256_madd_epi16(even, s_even), _mm256_madd_epi16(odd, s_odd)));
}
inline VI add_i(VI a, VI b) { return _mm256_add_epi32(a, b); }
inline VI sub_i(VI a, VI b) { return _mm256_sub_epi32(a, b); }
inline VI mul_i(VI a, VI b) { return _mm256_mullo_epi32(a, b); }
inline VF mul_f(VF a, VF b) { return _mm256_mul_ps(a, b); }
inline VF add_f(VF a, VF b) { return _mm256_add_ps(a, b); }
inline VF fma_f(VF a, VF b, VF c) { return _mm256_fmadd_ps(a, b, c); }
inline VF div_f(VF a, VF b) { return _mm256_div_ps(a, b); }
inline VF min_f(VF a, VF b) { return _mm256_min_ps(a, b); }
inline VF max_f(VF a, VF b) { return _mm256_max_ps(a, b); }
inline VF zero_nan(VF a) { return _mm256_and_ps(a, _mm256_cmp_ps(a, a, _CMP_ORD_Q)); }
inline VF to_f(VI a) { return _mm256_cvtepi32_ps(a); }
inline VI to_i(VF a) { return _mm256_cvtps_epi32(a); }

inline VH packs32(VI a, VI b) { return _mm256_packs_epi32(a, b); }
inline VH adds16(VH a, VH b) { return _mm256_adds_epi16(a, b); }
inline VB packus16(VH a, VH b) { return _mm256_packus_epi16(a, b); }
inline VB min_u8(VB a, VB b) { return _mm256_min_epu8(a, b); }
inline VB max_u8(VB a, VB b) { return _mm256_max_epu8(a, b); }
inline VB xor_b(VB a, VB b) { return _mm256_xor_si256(a, b); }
inline void widen(VB x, VI& a, VI& b, VI& c, VI& d) {
  const __m256i z = _mm256_setzero_si256();
  const __m256i lo = _mm256_unpacklo_epi8(x, z), hi = _mm256_unpackhi_epi8(x, z);
  a = _mm256_unpacklo_epi16(lo, z), b = _mm256_unpackhi_epi16(lo, z);
  c = _mm256_unpacklo_epi16(hi, z), d = _mm256_unpackhi_epi16(hi, z);
}

// Dword s of 128-bit block g goes to dword 2 * s + g: vectors packed side by side become contiguous.
inline VB gather_blocks(VB x) { return _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); }
// Bytes [from, from + n) of x.
inline void store_span(uint8_t* p, VB x, int from, int n) {
  if (n >= 32) return store_b(p, x);
  alignas(32) uint8_t t[64];
  _mm256_store_si256(reinterpret_cast<__m256i*>(t), x);
  _mm256_store_si256(reinterpret_cast<__m256i*>(t + 32), _mm256_setzero_si256());
  copy_bytes(p, t + from, n);
}
template <int i>
inline void store_quarter(void* p, VB x) {
  const int64_t v = _mm256_extract_epi64(x, i);
  __builtin_memcpy(p, &v, 8);
}
template <int i>
inline void store_half(void* p, VB x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_extracti128_si256(x, i));
}

struct Table {
  const uint8_t* t;
};
inline Table load_table(const uint8_t* t) { return {t}; }
// Row r of sixteen entries serves the bytes whose high nibble is r (see avx512vnni_i8.h).
inline VB lookup(const Table& t, VB x) {
  VB y = _mm256_setzero_si256();
  const VB bias = _mm256_set1_epi8(0x70);
#pragma GCC unroll 16
  for (int r = 0; r < 16; r++) {
    const VB row = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t.t + 16 * r)));
    const VB index = _mm256_adds_epu8(_mm256_xor_si256(x, _mm256_set1_epi8(char(16 * r))), bias);
    y = _mm256_or_si256(y, _mm256_shuffle_epi8(row, index));
  }
  return y;
}

}  // namespace
}  // namespace octavo::avx2
