#include "kernels/lut_s8/lut_s8.h"

#include <cstring>

#include "kernels/registry.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace octavo {

#if defined(__x86_64__)
namespace {

#define OCTAVO_VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

// The four 64-byte quarters: two permutes of two registers each, and bit 7 chooses between them.
OCTAVO_VBMI void bytes_vbmi(uint8_t* y, int64_t ldy, const uint8_t* x, int64_t ldx, int64_t rows, int64_t cols,
                            const uint8_t* table) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  for (int64_t r = 0; r < rows; r++, y += ldy, x += ldx)
    for (int64_t n = 0; n < cols; n += 64) {
      const int64_t left = cols - n;
      const __mmask64 mask = left >= 64 ? ~__mmask64(0) : (__mmask64(1) << left) - 1;
      const __m512i v = left >= 64 ? _mm512_loadu_si512(x + n) : _mm512_maskz_loadu_epi8(mask, x + n);
      const __m512i low = _mm512_permutex2var_epi8(t0, v, t1), high = _mm512_permutex2var_epi8(t2, v, t3);
      const __m512i out = _mm512_mask_blend_epi8(_mm512_movepi8_mask(v), low, high);
      if (left >= 64)
        _mm512_storeu_si512(y + n, out);
      else
        _mm512_mask_storeu_epi8(y + n, mask, out);
    }
}

#undef OCTAVO_VBMI

}  // namespace
#endif

const LutS8& lut_s8(Isa isa) {
  const LutS8& table = *static_cast<const LutS8*>(find_kernel("lut_s8", isa));
#if defined(__x86_64__)
  if (std::strcmp(table.isa, "avx512vnni") == 0 && __builtin_cpu_supports("avx512vbmi")) {
    static const LutS8 vbmi = {"avx512vnni+vbmi", bytes_vbmi, table.floats, table.flip};
    return vbmi;
  }
#endif
  return table;
}

}  // namespace octavo
