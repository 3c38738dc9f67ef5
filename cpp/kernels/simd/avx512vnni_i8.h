// The int8 SIMD vocabulary, AVX-512 F/BW/VL/DQ/VNNI: vectors of 64 bytes or 16 lanes.
//
//   kBytes, kLanes          bytes in VB, 32-bit lanes in VI/VF (kBytes == 4 * kLanes on every ISA)
//   set1_b/_h/_i/_f         broadcast a byte, int16, int32, float;  set1_4: broadcast four bytes from memory
//   load_x(p[, n])          all, or the first n elements and zeros after them; never reads past element n
//   store_x(p, v[, n])      all, or the first n elements; never writes past element n
//   unpack_lo8/hi8/lo16/hi16 interleave within each 128-bit block, as x86 does
//   dot(acc, u, s)          acc[i] += sum of u8 * s8 over the four bytes of lane i, exact modulo 2^32
//   to_f, to_i              int32 -> float (nearest even), float -> int32 (nearest even; |x| must be < 2^31)
//   packs32, packus16       int32 -> int16, int16 -> u8, saturating, within 128-bit blocks (x86's order);
//                           packus16(packs32(a, b), packs32(c, d)) undoes widen(x, a, b, c, d) and the order of
//                           unpack16(unpack8(..)) as well: nothing is ever permuted back
//   adds16                  saturating int16 addition
//   min_f/max_f(a, b)       b when a is NaN;  zero_nan: NaN -> 0
//   gather_blocks           dword s of 128-bit block g moves to dword s * blocks + g
//   store_span(p, v, i, n)  stores bytes [i, i + n)
//   store_quarter/_half<i>  stores that part of a vector
//   load_table, lookup      y = t[x] for a 256-byte table
#pragma once

// GCC's own _mm512_undefined_* values trip these warnings once inlined.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstddef>
#include <cstdint>

namespace octavo::avx512vnni {
namespace {

constexpr int kBytes = 64;
constexpr int kLanes = 16;

using VB = __m512i;
using VI = __m512i;
using VH = __m512i;
using VF = __m512;

inline __mmask64 bytes_mask(int n) { return n >= 64 ? ~__mmask64(0) : (__mmask64(1) << n) - 1; }
inline __mmask16 lanes_mask(int n) { return n >= 16 ? __mmask16(0xffff) : __mmask16((1u << n) - 1); }

inline VB set1_b(uint8_t x) { return _mm512_set1_epi8(char(x)); }
inline VH set1_h(int16_t x) { return _mm512_set1_epi16(x); }
inline VI set1_i(int32_t x) { return _mm512_set1_epi32(x); }
inline VF set1_f(float x) { return _mm512_set1_ps(x); }
inline VB set1_4(const void* p) {
  int32_t x;
  __builtin_memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}

inline VB load_b(const void* p) { return _mm512_loadu_si512(p); }
inline VB load_b(const void* p, int n) { return _mm512_maskz_loadu_epi8(bytes_mask(n), p); }
inline void store_b(void* p, VB x) { _mm512_storeu_si512(p, x); }
inline void store_b(void* p, VB x, int n) { _mm512_mask_storeu_epi8(p, bytes_mask(n), x); }
inline VI load_i(const int32_t* p) { return _mm512_loadu_si512(p); }
inline VI load_i(const int32_t* p, int n) { return _mm512_maskz_loadu_epi32(lanes_mask(n), p); }
inline void store_i(int32_t* p, VI x) { _mm512_storeu_si512(p, x); }
inline void store_i(int32_t* p, VI x, int n) { _mm512_mask_storeu_epi32(p, lanes_mask(n), x); }
inline VF load_f(const float* p) { return _mm512_loadu_ps(p); }
inline VF load_f(const float* p, int n) { return _mm512_maskz_loadu_ps(lanes_mask(n), p); }
inline void store_f(float* p, VF x) { _mm512_storeu_ps(p, x); }
inline void store_f(float* p, VF x, int n) { _mm512_mask_storeu_ps(p, lanes_mask(n), x); }

inline VB unpack_lo8(VB a, VB b) { return _mm512_unpacklo_epi8(a, b); }
inline VB unpack_hi8(VB a, VB b) { return _mm512_unpackhi_epi8(a, b); }
inline VB unpack_lo16(VB a, VB b) { return _mm512_unpacklo_epi16(a, b); }
inline VB unpack_hi16(VB a, VB b) { return _mm512_unpackhi_epi16(a, b); }

// Inline assembly, not the intrinsic: GCC 12 keeps stack copies of the accumulators around the intrinsic once about
// fourteen of them are live, which halves the speed; "+v" pins them to registers.
inline __attribute__((always_inline)) void dot(VI& acc, VB u, VB s) {
  asm("vpdpbusd %2,%1,%0" : "+v"(acc) : "v"(u), "v"(s));
}
inline VI add_i(VI a, VI b) { return _mm512_add_epi32(a, b); }
inline VI sub_i(VI a, VI b) { return _mm512_sub_epi32(a, b); }
inline VI mul_i(VI a, VI b) { return _mm512_mullo_epi32(a, b); }
inline VF mul_f(VF a, VF b) { return _mm512_mul_ps(a, b); }
inline VF add_f(VF a, VF b) { return _mm512_add_ps(a, b); }
inline VF fma_f(VF a, VF b, VF c) { return _mm512_fmadd_ps(a, b, c); }
inline VF div_f(VF a, VF b) { return _mm512_div_ps(a, b); }
inline VF min_f(VF a, VF b) { return _mm512_min_ps(a, b); }
inline VF max_f(VF a, VF b) { return _mm512_max_ps(a, b); }
inline VF zero_nan(VF a) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a); }
inline VF to_f(VI a) { return _mm512_cvtepi32_ps(a); }
inline VI to_i(VF a) { return _mm512_cvtps_epi32(a); }

inline VH packs32(VI a, VI b) { return _mm512_packs_epi32(a, b); }
inline VH adds16(VH a, VH b) { return _mm512_adds_epi16(a, b); }
inline VB packus16(VH a, VH b) { return _mm512_packus_epi16(a, b); }
inline VB min_u8(VB a, VB b) { return _mm512_min_epu8(a, b); }
inline VB max_u8(VB a, VB b) { return _mm512_max_epu8(a, b); }
inline VB xor_b(VB a, VB b) { return _mm512_xor_si512(a, b); }
inline void widen(VB x, VI& a, VI& b, VI& c, VI& d) {
  const __m512i z = _mm512_setzero_si512();
  const __m512i lo = _mm512_unpacklo_epi8(x, z), hi = _mm512_unpackhi_epi8(x, z);
  a = _mm512_unpacklo_epi16(lo, z), b = _mm512_unpackhi_epi16(lo, z);
  c = _mm512_unpacklo_epi16(hi, z), d = _mm512_unpackhi_epi16(hi, z);
}

// Dword s of 128-bit block g goes to dword 4 * s + g: vectors packed side by side become contiguous.
inline VB gather_blocks(VB x) {
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), x);
}
// Bytes [from, from + n) of x.
inline void store_span(uint8_t* p, VB x, int from, int n) {
  _mm512_mask_storeu_epi8(p - from, bytes_mask(n) << from, x);
}
// Quarter or half i of a vector.
template <int i>
inline void store_quarter(void* p, VB x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_extracti32x4_epi32(x, i));
}
template <int i>
inline void store_half(void* p, VB x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_extracti64x4_epi64(x, i));
}

// No VBMI at this level, so a byte table is sixteen in-block shuffles: row r serves the bytes whose high nibble is r.
struct Table {
  __m512i row[16];
};
inline Table load_table(const uint8_t* t) {
  Table r;
  for (int i = 0; i < 16; i++)
    r.row[i] = _mm512_maskz_broadcast_i32x4(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(t + 16 * i)));
  return r;
}
inline VB lookup(const Table& t, VB x) {
  // x xor 16*r has a zero high nibble exactly for the bytes of row r, and vpshufb gives zero only
  // for indices with bit 7 set, so 0x70 is added with unsigned saturation: 0x70..0x7f keep the nibble, all others set
  // it.
  VB y = _mm512_setzero_si512();
  const VB bias = _mm512_set1_epi8(0x70);
#pragma GCC unroll 16
  for (int r = 0; r < 16; r++) {
    const VB index = _mm512_adds_epu8(_mm512_xor_si512(x, _mm512_set1_epi8(char(16 * r))), bias);
    y = _mm512_or_si512(y, _mm512_shuffle_epi8(t.row[r], index));
  }
  return y;
}

}  // namespace
}  // namespace octavo::avx512vnni
