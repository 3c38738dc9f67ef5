// vpmaddwd on bytes widened to int16: exact for every weight (vpmaddubsw would saturate).
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/x86_widths.inl"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

// The first n bytes (1 to 7) of a word.
inline uint64_t load_word(const uint8_t* p, int n) {
  if (n < 4) return p[0] | uint64_t(p[n / 2]) << 8 * (n / 2) | uint64_t(p[n - 1]) << 8 * (n - 1);
  uint32_t low, high;
  __builtin_memcpy(&low, p, 4);
  __builtin_memcpy(&high, p + n - 4, 4);
  return low | uint64_t(high) << 8 * (n - 4);
}
inline void store_word(uint8_t* p, uint64_t v, int n) {
  if (n < 4) {
    for (int i = 0; i < n; i++) p[i] = uint8_t(v >> 8 * i);
    return;
  }
  const uint32_t low = uint32_t(v), high = uint32_t(v >> 8 * (n - 4));
  __builtin_memcpy(p, &low, 4);
  __builtin_memcpy(p + n - 4, &high, 4);
}

struct W32 {
  OCTAVO_X86_WIDTH(32, _mm256, __m256i, __m256, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_setzero_si256)
  static constexpr bool kPartial = false;
  static inline void dot(I& acc, B u, B s) { avx2::dot(acc, u, s); }
};
struct W16 {
  OCTAVO_X86_WIDTH(16, _mm, __m128i, __m128, _mm_loadu_si128, _mm_storeu_si128, _mm_setzero_si128)
  static constexpr bool kPartial = true;
  // The first n bytes (1 to 15): two overlapping words, the second one shifted into place.
  static inline B load_b(const uint8_t* p, int n) {
    if (n < 8) return _mm_cvtsi64_si128(int64_t(load_word(p, n)));
    uint64_t low, high;
    __builtin_memcpy(&low, p, 8);
    __builtin_memcpy(&high, p + n - 8, 8);
    high = n == 8 ? 0 : high >> 8 * (16 - n);
    return _mm_set_epi64x(int64_t(high), int64_t(low));
  }
  static inline void store_b(uint8_t* p, B x, int n) {
    const uint64_t low = uint64_t(_mm_cvtsi128_si64(x)), high = uint64_t(_mm_extract_epi64(x, 1));
    if (n < 8) return store_word(p, low, n);
    const uint64_t last = n == 8 ? low : low >> 8 * (n - 8) | high << 8 * (16 - n);
    __builtin_memcpy(p, &low, 8);
    __builtin_memcpy(p + n - 8, &last, 8);
  }
  static inline void dot(I& acc, B u, B s) {
    const __m128i even = _mm_and_si128(u, _mm_set1_epi16(0xff)), odd = _mm_srli_epi16(u, 8);
    const __m128i s_even = _mm_srai_epi16(_mm_slli_epi16(s, 8), 8), s_odd = _mm_srai_epi16(s, 8);
    acc = _mm_add_epi32(acc, _mm_add_epi32(_mm_madd_epi16(even, s_even), _mm_madd_epi16(odd, s_odd)));
  }
};
using W64 = void;

#include "kernels/dwconv_s8/tile.inl"

constexpr DwconvS8 kTable = {"avx2", 32, 16, 12000, OCTAVO_DW_TABLE};

}  // namespace
}  // namespace avx2

extern const DwconvS8 OCTAVO_DWCONV_S8_TABLE(avx2);
const DwconvS8 OCTAVO_DWCONV_S8_TABLE(avx2) = avx2::kTable;

}  // namespace octavo
