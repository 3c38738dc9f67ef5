// The int8 SIMD vocabulary, NEON with the dot-product extension: vectors of 16 bytes or 4 lanes.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace octavo::neon_dot {
namespace {

#include "kernels/simd/neon_i8.inl"

// Signed times signed: what the hardware has.
inline void dot_signed(VI& acc, VB a, VB s) { acc = vdotq_s32(acc, vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(s)); }
// u * s = (u - 128) * s + 2 * 64 * s; with constant weights the second half leaves the loop.
inline void dot(VI& acc, VB u, VB s) {
  const VB sixty_four = set1_b(64);
  VI shift = set1_i(0);
  dot_signed(shift, sixty_four, s);
  dot_signed(shift, sixty_four, s);
  dot_signed(acc, xor_b(u, set1_b(0x80)), s);
  acc = add_i(acc, shift);
}

}  // namespace
}  // namespace octavo::neon_dot
