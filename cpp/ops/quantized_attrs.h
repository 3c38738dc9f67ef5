// Attribute checks that the small quantized operators share.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/arith.h"
#include "core/fixed.h"
#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "kernels/eltwise_s8/eltwise_s8.h"
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

// The fixed scheme's [multiplier, shift] attribute (core/fixed.h).
inline FixedScale fixed_attribute(const BindContext& ctx, const std::string& key) {
  const std::vector<int64_t> v = ctx.step.ints(key.c_str());
  if (v.size() != 2) ctx.fail("attribute %s has %zu entries, expected a multiplier and a shift", key.c_str(), v.size());
  if (v[0] <= -(int64_t(1) << 31) || v[0] >= int64_t(1) << 31 || v[1] < -31 || v[1] > 30)
    ctx.fail("attribute %s is (%lld, %lld); a multiplier lies within 2^31 and a shift in [-31, 30]", key.c_str(),
             (long long)v[0], (long long)v[1]);
  return {int32_t(v[0]), int32_t(v[1])};
}

// fixed_a, fixed_b and fixed_y behind `prefix`, with everything else of a fixed addition.
inline AddFixedParams add_fixed_attributes(const BindContext& ctx, const std::string& prefix) {
  const auto factor = [&](const char* key) {
    const FixedScale s = fixed_attribute(ctx, prefix + key);
    return FixedFactor{s.multiplier, s.shift};
  };
  const auto byte = [&](const char* key, int64_t otherwise) {
    return byte_attribute(ctx, (prefix + key).c_str(), otherwise);
  };
  const AddFixedParams p = {byte("za", 0),   byte("zb", 0),     byte("zp", 0),     byte("lo", 0),
                            byte("hi", 255), factor("fixed_a"), factor("fixed_b"), factor("fixed_y")};
  if (p.lo > p.hi) ctx.fail("%slo (%d) is above %shi (%d)", prefix.c_str(), p.lo, prefix.c_str(), p.hi);
  return p;
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

// Part of a zero point that is added before rounding.
inline int32_t zp_before(const BindContext& ctx) {
  const int64_t v = ctx.step.i("zp_before", 0);
  if (v < -128 || v > 255)
    ctx.fail("attribute zp_before is %lld; it is a zero point, between -128 and 255", (long long)v);
  return int32_t(v);
}

// A quantized addition; `prefix` stands before every attribute.
inline AddParams add_params(const BindContext& ctx, const std::string& prefix) {
  const auto key = [&](const char* name) { return prefix + name; };
  AddParams p = {};
  p.za = byte_attribute(ctx, key("za").c_str(), 0), p.zb = byte_attribute(ctx, key("zb").c_str(), 0);
  p.zp = byte_attribute(ctx, key("zp").c_str(), 0);
  p.lo = byte_attribute(ctx, key("lo").c_str(), 0), p.hi = byte_attribute(ctx, key("hi").c_str(), 255);
  if (p.lo > p.hi) ctx.fail("%s (%d) is above %s (%d)", key("lo").c_str(), p.lo, key("hi").c_str(), p.hi);
  p.sa = finite_attribute(ctx, key("sa").c_str()), p.sb = finite_attribute(ctx, key("sb").c_str());
  p.ratio = ctx.step.has(key("c").c_str());
  if (p.ratio)
    p.c = finite_attribute(ctx, key("c").c_str()), p.inner_a = ctx.step.i(key("inner_a").c_str(), 0) != 0;
  else
    p.sy = positive_attribute(ctx, key("sy").c_str());
  return p;
}
template <class Params = AddS8Params>  // each kernel family has its own
inline Params kernel_params(const AddParams& p) {
  return {p.za, p.zb, p.zp, p.lo, p.hi, p.sa, p.sb, p.sy, p.c, p.ratio, p.inner_a};
}
inline std::string kernel_name(const EltwiseS8& k) { return std::string("eltwise_s8 ") + k.isa; }
inline std::string kernel_name(const EltwiseFixed& k) { return std::string("eltwise_fixed ") + k.isa; }

// The constant u8 table behind input k, or null when it is absent.
inline const uint8_t* byte_table(const BindContext& ctx, int k) {
  if (!ctx.has(k)) return nullptr;
  const View& t = ctx.constant(k, DType::u8);
  if (t.elements() != 256) ctx.fail("the table has %lld entries, expected 256", (long long)t.elements());
  return t.as<uint8_t>();
}

}  // namespace octavo
