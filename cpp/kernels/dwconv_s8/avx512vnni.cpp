// vpdpbusd on zmm, ymm and xmm: a ymm costs half a zmm, so channel tails are cheap.
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/dwconv_s8/x86_widths.inl"
#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

// Inline assembly: see dot() in simd/avx512vnni_i8.h.
template <class T>
inline __attribute__((always_inline)) void vnni(T& acc, T u, T s) {
  asm("vpdpbusd %2,%1,%0" : "+v"(acc) : "v"(u), "v"(s));
}

struct W64 {
  OCTAVO_X86_WIDTH(64, _mm512, __m512i, __m512, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_setzero_si512)
  static constexpr bool kPartial = true;
  static inline B load_b(const uint8_t* p, int n) {
    return _mm512_maskz_loadu_epi8(__mmask64((__mmask64(1) << n) - 1), p);
  }
  static inline void store_b(uint8_t* p, B x, int n) {
    _mm512_mask_storeu_epi8(p, __mmask64((__mmask64(1) << n) - 1), x);
  }
  static inline void dot(I& acc, B u, B s) { vnni(acc, u, s); }
};
struct W32 {
  OCTAVO_X86_WIDTH(32, _mm256, __m256i, __m256, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_setzero_si256)
  static constexpr bool kPartial = true;
  static inline B load_b(const uint8_t* p, int n) { return _mm256_maskz_loadu_epi8(__mmask32((1u << n) - 1), p); }
  static inline void store_b(uint8_t* p, B x, int n) { _mm256_mask_storeu_epi8(p, __mmask32((1u << n) - 1), x); }
  static inline void dot(I& acc, B u, B s) { vnni(acc, u, s); }
};
struct W16 {
  OCTAVO_X86_WIDTH(16, _mm, __m128i, __m128, _mm_loadu_si128, _mm_storeu_si128, _mm_setzero_si128)
  static constexpr bool kPartial = true;
  static inline B load_b(const uint8_t* p, int n) { return _mm_maskz_loadu_epi8(__mmask16((1u << n) - 1), p); }
  static inline void store_b(uint8_t* p, B x, int n) { _mm_mask_storeu_epi8(p, __mmask16((1u << n) - 1), x); }
  static inline void dot(I& acc, B u, B s) { vnni(acc, u, s); }
};
#include "kernels/dwconv_s8/tile.inl"

constexpr DwconvS8 kTable = {"avx512vnni", 64, 64, 60000, OCTAVO_DW_TABLE};

}  // namespace
}  // namespace avx512vnni

extern const DwconvS8 OCTAVO_DWCONV_S8_TABLE(avx512vnni);
const DwconvS8 OCTAVO_DWCONV_S8_TABLE(avx512vnni) = avx512vnni::kTable;

}  // namespace octavo
