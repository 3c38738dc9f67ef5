// The fixed scheme's words, portable C++ (fixed_avx2.inl says what they mean).
#pragma once

#include "kernels/simd/scalar_i8.h"

namespace octavo::scalar {
namespace {

struct ScalesTwice {
  VI multiplier, left, right;
};
struct ScalesOnce {
  VI multiplier, total;
};

inline VI twice(VI x, const ScalesTwice& s) {
  for (int i = 0; i < kLanes; i++) {
    const int32_t shifted = int32_t(uint32_t(x.v[i]) << s.left.v[i]);
    const int64_t high = (int64_t(shifted) * s.multiplier.v[i] + (int64_t(1) << 30)) >> 31;
    const int64_t mask = (int64_t(1) << s.right.v[i]) - 1;
    x.v[i] = int32_t((high >> s.right.v[i]) + ((high & mask) > (mask >> 1) + (high < 0)));
  }
  return x;
}
inline ScalesTwice make_twice(VI multiplier, VI shift) {
  ScalesTwice s = {multiplier, shift, shift};
  for (int i = 0; i < kLanes; i++) {
    s.left.v[i] = shift.v[i] > 0 ? shift.v[i] : 0;
    s.right.v[i] = shift.v[i] < 0 ? -shift.v[i] : 0;
  }
  return s;
}
inline ScalesOnce make_once(VI multiplier, VI shift) {
  for (int i = 0; i < kLanes; i++) shift.v[i] = 31 - shift.v[i];
  return {multiplier, shift};
}
inline VI once(VI x, const ScalesOnce& s) {
  for (int i = 0; i < kLanes; i++) {
    const int total = s.total.v[i];
    const uint64_t cap = total < 32 ? (uint64_t(1) << total) - 1 : 0xffffffffu;
    uint64_t magnitude = x.v[i] < 0 ? -uint64_t(int64_t(x.v[i])) : uint64_t(x.v[i]);
    if (magnitude > cap) magnitude = cap;
    const uint64_t y = (magnitude * uint32_t(s.multiplier.v[i]) + (uint64_t(1) << (total - 1))) >> total;
    x.v[i] = x.v[i] < 0 ? -int32_t(y) : int32_t(y);
  }
  return x;
}

}  // namespace
}  // namespace octavo::scalar
