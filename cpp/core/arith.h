// The exact scalar arithmetic every kernel must reproduce (docs/arithmetic.md gives the formulas).
#pragma once

#include <cmath>
#include <cstdint>

namespace octavo {

// Round half to even; the caller's rounding mode is nearest-even (see FpScope), so nearbyint is exact and total.
inline float rne(float x) { return std::nearbyintf(x); }

// clamp(rne(x) + zp, lo, hi) for any float: NaN gives zp (clamped), out-of-range saturates. The clamp comes before the
// conversion to an integer, because x86 and ARM differ on what an overflowing conversion returns.
inline int32_t quantize_value(float x, int32_t zp, int32_t lo, int32_t hi) {
  if (!(x == x)) x = 0.0f;
  const float r = rne(x);
  const float low = float(lo - zp), high = float(hi - zp);
  return int32_t(r < low ? low : r > high ? high : r) + zp;
}

// Requantization, scheme "float": y = clamp(rne(fl32(acc) * m) + zp, lo, hi).
inline int32_t requantize(int32_t acc, float m, int32_t zp, int32_t lo, int32_t hi) {
  return quantize_value(float(acc) * m, zp, lo, hi);
}

// Multiply and add modulo 2^32, without undefined behaviour.
inline int32_t mul_add_wrap(int32_t acc, int32_t a, int32_t b) {
  return int32_t(uint32_t(acc) + uint32_t(a) * uint32_t(b));
}

// Quantized addition: clamp(rne(fl(fl(fl((a - za) * sa) + fl((b - zb) * sb)) / sy)) + zp, lo, hi). That is ONNX's
// DequantizeLinear, Add, QuantizeLinear to the letter, a true division included: folding sa / sy would decide ties
// otherwise.
//
// With `ratio`, onnxruntime's QLinearAdd: v = fma(a - za, sa, fma(b - zb, sb, c)), the sides swapped with `inner_a`;
// clamp(rne(v) + zp, lo, hi). sa and sb are scales over the output's, c holds the zero points.
struct AddParams {
  int32_t za, zb, zp, lo, hi;
  float sa, sb, sy;
  float c = 0;
  bool ratio = false, inner_a = false;
};
inline int32_t quantized_add(int32_t a, int32_t b, const AddParams& p) {
  const float u = float(a - p.za), v = float(b - p.zb);
  if (p.ratio) {
    const float sum = p.inner_a ? std::fma(v, p.sb, std::fma(u, p.sa, p.c)) : std::fma(u, p.sa, std::fma(v, p.sb, p.c));
    return quantize_value(sum, p.zp, p.lo, p.hi);
  }
  return quantize_value((u * p.sa + v * p.sb) / p.sy, p.zp, p.lo, p.hi);
}

// Sets round-to-nearest-even and flush-to-zero off for this thread; restores the former state.
class FpScope {
 public:
  FpScope();
  ~FpScope();
  FpScope(const FpScope&) = delete;
  FpScope& operator=(const FpScope&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace octavo
