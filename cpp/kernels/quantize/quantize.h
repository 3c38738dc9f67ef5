// float32 <-> u8, and the range scan of dynamic quantization.
//
//   to_u8:      y = clamp(rne(fl(x / scale)) + zp, lo, hi); NaN gives zp (clamped). Returns whether there was a NaN.
//   planes3:    the same for three planes of n pixels each, written interleaved: y[3 * i + plane]
//   from_u8:    y = fl(fl32(x - zp) * scale)
//   min_max:    out = {smallest, largest} of x and 0; NaNs are passed over; a zero result is +0
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace octavo {

struct QuantizeParams {
  float scale;  // positive and finite
  int32_t zp, lo, hi;
};

struct QuantizeF32 {
  const char* isa;
  bool (*to_u8)(uint8_t* y, const float* x, int64_t n, const QuantizeParams& p);
  bool (*planes3)(uint8_t* y, const float* x, int64_t plane, int64_t n, const QuantizeParams& p);
  void (*from_u8)(float* y, const uint8_t* x, int64_t n, int32_t zp, float scale);
  void (*min_max)(const float* x, int64_t n, float* out);
};

const QuantizeF32& quantize_f32(Isa isa);

}  // namespace octavo
