#include "kernels/quantize/quantize.h"

#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

inline uint32_t is_nan(VF a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline VB narrow(VI a, VI b, VI c, VI d) {
  return gather_blocks(_mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)));
}
inline VI widen1(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void pixels3(uint8_t* y, VI r, VI g, VI b, int pixels) {
  const __m512i rgb = _mm512_or_si512(_mm512_or_si512(r, _mm512_slli_epi32(g, 8)), _mm512_slli_epi32(b, 16));
  const __m512i three =
      _mm512_maskz_broadcast_i32x4(0xffff, _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i order = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
  const __m512i v = _mm512_permutexvar_epi32(order, _mm512_shuffle_epi8(rgb, three));
  if (pixels == kLanes)
    _mm512_mask_storeu_epi32(y, 0xfff, v);
  else
    store_b(y, v, 3 * pixels);
}

#include "kernels/quantize/x86.inl"

constexpr QuantizeF32 kTable = {"avx512vnni", to_u8, planes3, from_u8, min_max};

}  // namespace
}  // namespace avx512vnni

extern const QuantizeF32 quantize_avx512vnni;
const QuantizeF32 quantize_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
