#include "ops/float_common.h"

namespace octavo {

Activation parse_activation(const BindContext& ctx, const char* key, const std::string& prefix) {
  Activation a;
  const std::string name = ctx.step.s(key, "");
  if (!parse_unary(name, a.fn)) ctx.fail("attribute %s: unknown function '%s'", key, name.c_str());
  unary_defaults(a.fn, a.alpha, a.beta);
  const bool clip = a.fn == UnaryFn::Clip;
  a.alpha = float(ctx.step.f((prefix + (clip ? "lo" : "alpha")).c_str(), a.alpha));
  a.beta = float(ctx.step.f((prefix + (clip ? "hi" : "beta")).c_str(), a.beta));
  return a;
}

Grid grid_of(const Region& pool, int64_t rows, int64_t panels, int64_t macs, int64_t row_unit) {
  Grid g{rows, panels, 1, 1};
  const int64_t chunks = pool.chunks_for(macs, 1 << 20);
  if (chunks <= 1) return g;
  g.row_chunks = std::max<int64_t>(1, std::min(chunks, rows / std::max<int64_t>(1, row_unit)));
  g.panel_chunks = std::max<int64_t>(1, std::min((chunks + g.row_chunks - 1) / g.row_chunks, panels));
  return g;
}

}  // namespace octavo
