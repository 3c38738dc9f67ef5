#include "ops/float_conv.h"

namespace octavo {

FloatConv parse_float_conv(const BindContext& ctx, bool restores) {
  FloatConv p;
  ctx.need(0, DType::f32);
  const int rank = ctx.inputs[0].rank;
  if (rank != 3 && rank != 4)
    ctx.fail("the input has rank %d, expected 4 [N, H, W, C] or 3 [N, W, C]; 3-D convolutions are not supported", rank);
  p.one_d = rank == 3;
  Shape w;
  if (restores && Restored::wanted(ctx)) {
    p.restored = std::make_unique<Restored>(ctx, 1, 4, true);
    w = p.restored->shape();
  } else {
    const View& weights = ctx.constant(1, DType::f32);
    w = weights.shape;
    p.w = weights.as<float>();
  }
  if (w.rank != rank) ctx.fail("the weights have rank %d, expected %d", w.rank, rank);
  p.O = w[0], p.kw = w[-2], p.group_c = w[-1];
  p.kh = p.one_d ? 1 : w[1];
  if (p.O < 1 || p.kh < 1 || p.kw < 1 || p.group_c < 1) ctx.fail("the weights are empty");
  constexpr int64_t kMost = int64_t(1) << 20;
  const size_t d = p.one_d ? 1 : 2;
  auto list = [&](const char* key, size_t n, int64_t otherwise, int64_t least) {
    std::vector<int64_t> v = ctx.step.ints(key, std::vector<int64_t>(n, otherwise));
    if (v.size() != n) ctx.fail("attribute %s has %zu entries, expected %zu", key, v.size(), n);
    for (int64_t x : v)
      if (x < least || x > kMost) ctx.fail("attribute %s holds %lld, which is out of range", key, (long long)x);
    return v;
  };
  const auto s = list("strides", d, 1, 1), l = list("dilations", d, 1, 1), g = list("pads", 2 * d, 0, 0);
  p.stride_w = s[d - 1], p.dil_w = l[d - 1], p.left = g[d - 1], p.right = g[2 * d - 1];
  if (!p.one_d) p.stride_h = s[0], p.dil_h = l[0], p.top = g[0], p.bottom = g[2];
  p.group = ctx.step.i("group", 1);
  if (p.group < 1 || p.O % p.group != 0)
    ctx.fail("group is %lld, which does not divide the %lld output channels", (long long)p.group, (long long)p.O);
  if (p.kh > kMost || p.kw > kMost || p.group_c > (int64_t(1) << 40) / p.group) ctx.fail("the weights are too large");
  if (ctx.has(2)) {
    ctx.need(2, DType::f32);
    if (const View* b = ctx.constant_or_null(2); b && b->elements() != p.O)
      ctx.fail("the bias has %lld elements, expected %lld", (long long)b->elements(), (long long)p.O);
  }
  if (ctx.outputs.size() != 1 || ctx.outputs[0].dtype != DType::f32) ctx.fail("the output must be float32");
  return p;
}

void check_float_conv(const FloatConv& p, InferContext& ctx) {
  const Shape& x = ctx.in[0].shape;
  if (x.rank != (p.one_d ? 3 : 4)) ctx.fail("the input has rank %d, expected %d", x.rank, p.one_d ? 3 : 4);
  if (x[-1] != p.channels())
    ctx.fail("the input has %lld channels, but the weights need %lld", (long long)x[-1], (long long)p.channels());
  if (ctx.has(2) && ctx.in[2].elements() != p.O)
    ctx.fail("the bias has %lld elements, expected %lld", (long long)ctx.in[2].elements(), (long long)p.O);
  for (int a = 0; a < x.rank; a++)
    if (x[a] < 0 || x[a] > (int64_t(1) << 40)) ctx.fail("input size %lld is out of range", (long long)x[a]);
}

}  // namespace octavo
