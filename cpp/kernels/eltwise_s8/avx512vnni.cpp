#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

struct Centred {
  VF v[4];
};
// A byte under the high half of 2^23 is the float 2^23 + x, and taking 2^23 + zp off is exact: no conversion is needed.
inline Centred centred(VB x, int32_t zp) {
  const VB zero = set1_b(0), high = set1_h(0x4B00);
  const VF base = set1_f(8388608.0f + float(zp));
  const VB lo = unpack_lo8(x, zero), hi = unpack_hi8(x, zero);
  const auto part = [&](VB v) { return _mm512_sub_ps(_mm512_castsi512_ps(v), base); };
  return {{part(unpack_lo16(lo, high)), part(unpack_hi16(lo, high)), part(unpack_lo16(hi, high)),
           part(unpack_hi16(hi, high))}};
}

#include "kernels/eltwise_s8/tile.inl"

constexpr EltwiseS8 kTable = {"avx512vnni", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace avx512vnni

extern const EltwiseS8 eltwise_s8_avx512vnni;
const EltwiseS8 eltwise_s8_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
