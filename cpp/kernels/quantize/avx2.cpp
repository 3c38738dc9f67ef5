#include "kernels/quantize/quantize.h"

#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

inline uint32_t is_nan(VF a) { return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q))); }
inline VB narrow(VI a, VI b, VI c, VI d) {
  return gather_blocks(_mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)));
}
inline VI widen1(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline void pixels3(uint8_t* y, VI r, VI g, VI b, int pixels) {
  const __m256i rgb = _mm256_or_si256(_mm256_or_si256(r, _mm256_slli_epi32(g, 8)), _mm256_slli_epi32(b, 16));
  const __m256i three =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m256i order = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
  const __m256i v = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(rgb, three), order);
  if (pixels == kLanes)
    _mm256_maskstore_epi32(reinterpret_cast<int*>(y), lanes_mask(6), v);
  else
    store_b(y, v, 3 * pixels);
}

#include "kernels/quantize/x86.inl"

constexpr QuantizeF32 kTable = {"avx2", to_u8, planes3, from_u8, min_max};

}  // namespace
}  // namespace avx2

extern const QuantizeF32 quantize_avx2;
const QuantizeF32 quantize_avx2 = avx2::kTable;

}  // namespace octavo
