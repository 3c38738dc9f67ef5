#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/avx2_i8.h"

namespace octavo {
namespace avx2 {
namespace {

struct Centred {
  VF v[4];
};
// A byte under the high half of 2^23 is the float 2^23 + x, and taking 2^23 + zp off is exact: no conversion is needed.
inline Centred centred(VB x, int32_t zp) {
  const VB zero = set1_b(0), high = set1_h(0x4B00);
  const VF base = set1_f(8388608.0f + float(zp));
  const VB lo = unpack_lo8(x, zero), hi = unpack_hi8(x, zero);
  const auto part = [&](VB v) { return _mm256_sub_ps(_mm256_castsi256_ps(v), base); };
  return {{part(unpack_lo16(lo, high)), part(unpack_hi16(lo, high)), part(unpack_lo16(hi, high)),
           part(unpack_hi16(hi, high))}};
}

#include "kernels/eltwise_s8/tile.inl"

constexpr EltwiseS8 kTable = {"avx2", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace avx2

extern const EltwiseS8 eltwise_s8_avx2;
const EltwiseS8 eltwise_s8_avx2 = avx2::kTable;

}  // namespace octavo
