// vpmaddwd on bytes widened to int16: exact for every weight (vpmaddubsw would saturate).
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/x86_widths.inl"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

struct W32 {
  OCTAVO_X86_WIDTH(32, _mm256, __m256i, __m256, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_setzero_si256)
  static inline void dot(I& acc, B u, B s) { avx2::dot(acc, u, s); }
};
struct W16 {
  OCTAVO_X86_WIDTH(16, _mm, __m128i, __m128, _mm_loadu_si128, _mm_storeu_si128, _mm_setzero_si128)
  static inline B load_b(const uint8_t* p, int n) {
    alignas(16) uint8_t t[16] = {};
    copy_bytes(t, p, n);
    return _mm_load_si128(reinterpret_cast<const __m128i*>(t));
  }
  static inline void store_b(uint8_t* p, B x, int n) {
    alignas(16) uint8_t t[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(t), x);
    copy_bytes(p, t, n);
  }
  static inline void dot(I& acc, B u, B s) {
    const __m128i even = _mm_and_si128(u, _mm_set1_epi16(0xff)), odd = _mm_srli_epi16(u, 8);
    const __m128i s_even = _mm_srai_epi16(_mm_slli_epi16(s, 8), 8), s_odd = _mm_srai_epi16(s, 8);
    acc = _mm_add_epi32(acc, _mm_add_epi32(_mm_madd_epi16(even, s_even), _mm_madd_epi16(odd, s_odd)));
  }
};
using W64 = void;

#include "kernels/dwconv_s8/tile.inl"

constexpr DwconvS8 kTable = {"avx2", 32, 12000, OCTAVO_DW_TABLE};

}  // namespace
}  // namespace avx2

extern const DwconvS8 dwconv_s8_avx2;
const DwconvS8 dwconv_s8_avx2 = avx2::kTable;

}  // namespace octavo
