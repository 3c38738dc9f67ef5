#include "tools/fixed_cases.h"

#include <algorithm>
#include <cstring>

namespace octavo {
namespace {

using Ints = std::vector<int64_t>;

// A multiplier of 31 bits (now and then any) and a shift around `usual`.
Ints factor(Random& r, int64_t usual) {
  const int64_t multiplier = r.between(0, 15) ? r.between(1 << 30, INT32_MAX) : r.between(0, INT32_MAX);
  return {multiplier, r.between(0, 9) ? std::clamp<int64_t>(usual + r.between(-2, 2), -31, 30) : r.between(-31, 30)};
}

void fixed_addition(Random& r, std::map<std::string, Attr>& attrs, const std::string& prefix) {
  for (const char* key : {"sa", "sb", "sy"}) attrs.erase(prefix + key);
  attrs[prefix + "fixed_a"] = factor(r, -1);
  Ints b = factor(r, -1);
  if (r.between(0, 3) == 0) b[0] = -b[0];  // a subtraction
  attrs[prefix + "fixed_b"] = b;
  attrs[prefix + "fixed_y"] = factor(r, -18);
}

}  // namespace

Case fixed_case(Random& r, Case c) {
  auto& attrs = c.step.attrs;
  if (attrs.count("out_f32")) return c;
  c.name += " fixed";
  if (c.step.op == "QConv" || c.step.op == "QGemm") {
    const int64_t n = c.in[3].shape[0], k = c.in[1].shape.span(1, c.in[1].shape.rank);
    int64_t usual = -6;
    while ((int64_t(1) << (-usual - 6)) < k) usual--;
    Operand m = constant(ints(r, DType::s32, make_shape({2, n}), 0, 0));
    for (int64_t i = 0; i < n; i++) {
      const Ints f = factor(r, usual);
      const int32_t pair[2] = {int32_t(f[0]), int32_t(f[1])};
      std::memcpy(m.bytes.data() + 4 * i, &pair[0], 4);
      std::memcpy(m.bytes.data() + 4 * (n + i), &pair[1], 4);
    }
    c.in[3] = m;
    const bool depthwise = c.step.op == "QConv" && c.in[1].shape[-1] == 1;
    if (!depthwise && r.between(0, 1)) attrs["once"] = int64_t(1);
    if (attrs.count("add_sy")) fixed_addition(r, attrs, "add_");
  } else if (c.step.op == "QAdd") {
    fixed_addition(r, attrs, "");
  } else if (c.step.op == "QMul") {
    attrs.erase("m");
    attrs["fixed"] = factor(r, -9);
  } else if (c.step.op == "QReduceMean") {
    attrs.erase("r");
    attrs["fixed"] = factor(r, 0);
  } else if (c.step.op == "QAveragePool") {
    for (const char* key : {"x_scale", "y_scale", "zp_before"}) attrs.erase(key);
    attrs["origin"] = r.between(0, 1) * 128;
  }
  return c;
}

Case qsoftmax_case(Random& r) {
  const int64_t shift = r.between(14, 24);
  const Ints fixed = {r.between(1 << 30, INT32_MAX), shift};
  const int64_t least = -std::min<int64_t>(255, (int64_t(31) << 26) >> shift);
  const Shape s = make_shape({r.between(1, 9), r.between(1, 400)});
  return simple_case(
      {"QSoftmax", {{"fixed", fixed}, {"diff_min", least}}, {bytes_operand(r, DType::u8, s)}, DType::u8, 2});
}

}  // namespace octavo
