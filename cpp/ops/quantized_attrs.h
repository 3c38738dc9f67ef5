// Attribute checks that the small quantized operators share.
#pragma once

#include <cmath>

#include "ops/op.h"

namespace octavo {

inline int32_t byte_attribute(const BindContext& ctx, const char* key, int64_t otherwise) {
  const int64_t v = ctx.step.i(key, otherwise);
  if (v < 0 || v > 255)
    ctx.fail("attribute %s is %lld; quantized activations are u8, so it must lie in [0, 255]", key, (long long)v);
  return int32_t(v);
}

inline float finite_attribute(const BindContext& ctx, const char* key) {
  const float v = float(ctx.step.f(key));
  if (!std::isfinite(v)) ctx.fail("attribute %s is not a finite float32", key);
  return v;
}

// A scale that divides.
inline float positive_attribute(const BindContext& ctx, const char* key) {
  const float v = finite_attribute(ctx, key);
  if (!(v > 0)) ctx.fail("attribute %s is %g as a float32; a scale that divides must be above 0", key, double(v));
  return v;
}

// Zero point and clamp of an output.
struct OutputRange {
  int32_t zp, lo, hi;
};
inline OutputRange output_range(const BindContext& ctx, const char* zp_key) {
  const OutputRange r = {byte_attribute(ctx, zp_key, 0), byte_attribute(ctx, "lo", 0), byte_attribute(ctx, "hi", 255)};
  if (r.lo > r.hi) ctx.fail("lo (%d) is above hi (%d)", r.lo, r.hi);
  return r;
}

// The constant u8 table behind input k, or null when it is absent.
inline const uint8_t* byte_table(const BindContext& ctx, int k) {
  if (!ctx.has(k)) return nullptr;
  const View& t = ctx.constant(k, DType::u8);
  if (t.elements() != 256) ctx.fail("the table has %lld entries, expected 256", (long long)t.elements());
  return t.as<uint8_t>();
}

}  // namespace octavo
