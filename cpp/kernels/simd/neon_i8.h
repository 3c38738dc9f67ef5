// The int8 SIMD vocabulary, NEON of ARMv8.0: vectors of 16 bytes or 4 lanes.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace octavo::neon {
namespace {

#include "kernels/simd/neon_i8.inl"

// Exact: both sides are widened to int16, products to int32.
inline void dot(VI& acc, VB u, VB s) {
  const int16x8_t u0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(u))), u1 = vreinterpretq_s16_u16(vmovl_high_u8(u));
  const int8x16_t w = vreinterpretq_s8_u8(s);
  const int16x8_t s0 = vmovl_s8(vget_low_s8(w)), s1 = vmovl_high_s8(w);
  const VI p0 = vpaddq_s32(vmull_s16(vget_low_s16(u0), vget_low_s16(s0)), vmull_high_s16(u0, s0));
  const VI p1 = vpaddq_s32(vmull_s16(vget_low_s16(u1), vget_low_s16(s1)), vmull_high_s16(u1, s1));
  acc = vaddq_s32(acc, vpaddq_s32(p0, p1));
}

}  // namespace
}  // namespace octavo::neon
