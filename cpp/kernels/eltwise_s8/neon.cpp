#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/neon_i8.h"

namespace octavo {
namespace neon {
namespace {

struct Centred {
  VF v[4];
};
inline Centred centred(VB x, int32_t zp) {
  VI w[4];
  widen(x, w[0], w[1], w[2], w[3]);
  const VI z = set1_i(zp);
  return {{to_f(sub_i(w[0], z)), to_f(sub_i(w[1], z)), to_f(sub_i(w[2], z)), to_f(sub_i(w[3], z))}};
}

#include "kernels/eltwise_s8/tile.inl"

constexpr EltwiseS8 kTable = {"neon", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace neon

extern const EltwiseS8 eltwise_s8_neon;
const EltwiseS8 eltwise_s8_neon = neon::kTable;

}  // namespace octavo
