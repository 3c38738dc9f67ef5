// Plain loops: the truth that every other one is compared with.
#include "kernels/quantize/quantize.h"

namespace octavo {
namespace scalar {
namespace {

inline uint8_t quantized(float x, const QuantizeParams& p, bool& nan) {
  float v = x / p.scale;
  if (!(v == v)) nan = true, v = 0.0f;
  const float low = float(p.lo - p.zp), high = float(p.hi - p.zp), r = __builtin_nearbyintf(v);
  return uint8_t(int32_t(r < low ? low : r > high ? high : r) + p.zp);
}

bool to_u8(uint8_t* y, const float* x, int64_t n, const QuantizeParams& p) {
  bool nan = false;
  for (int64_t i = 0; i < n; i++) y[i] = quantized(x[i], p, nan);
  return nan;
}

bool planes3(uint8_t* y, const float* x, int64_t plane, int64_t n, const QuantizeParams& p) {
  bool nan = false;
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < 3; c++) y[3 * i + c] = quantized(x[c * plane + i], p, nan);
  return nan;
}

void from_u8(float* y, const uint8_t* x, int64_t n, int32_t zp, float scale) {
  for (int64_t i = 0; i < n; i++) y[i] = float(x[i] - zp) * scale;
}

void min_max(const float* x, int64_t n, float* out) {
  float lo = 0.0f, hi = 0.0f;
  for (int64_t i = 0; i < n; i++) {
    if (x[i] < lo) lo = x[i];
    if (x[i] > hi) hi = x[i];
  }
  out[0] = lo, out[1] = hi;
}

constexpr QuantizeF32 kTable = {"scalar", to_u8, planes3, from_u8, min_max};

}  // namespace
}  // namespace scalar

extern const QuantizeF32 quantize_scalar;
const QuantizeF32 quantize_scalar = scalar::kTable;

}  // namespace octavo
