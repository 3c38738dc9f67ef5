#include "ops/window.h"

#include "ops/copy.h"

namespace octavo {
namespace {

constexpr int64_t kMost = int64_t(1) << 20;  // largest kernel, stride, dilation or pad that is taken seriously

std::vector<int64_t> list(const BindContext& ctx, const char* key, size_t n, int64_t otherwise, int64_t least) {
  std::vector<int64_t> v = ctx.step.ints(key, std::vector<int64_t>(n, otherwise));
  if (v.size() != n) ctx.fail("attribute %s has %zu entries, expected %zu", key, v.size(), n);
  for (int64_t x : v)
    if (x < least || x > kMost)
      ctx.fail("attribute %s holds %lld, which is outside [%lld, %lld]", key, (long long)x, (long long)least,
               (long long)kMost);
  return v;
}

}  // namespace

int64_t Window::outputs(const WindowAxis& a, int64_t size) const {
  const int64_t room = size + a.begin + a.end - a.extent();
  if (!ceil) return room / a.stride + 1;
  const int64_t n = (room + a.stride - 1) / a.stride + 1;
  return (n - 1) * a.stride >= size + a.begin ? n - 1 : n;  // no window starts in the right padding
}

Window parse_window(const BindContext& ctx) {
  check_arity(ctx, 1, 1, 1, 2);
  const int rank = ctx.inputs[0].rank;
  if (rank != 3 && rank != 4)
    ctx.fail("the input has rank %d, expected 4 [N, H, W, C] or 3 [N, W, C]; 3-D pools are not supported", rank);
  Window p;
  p.one_d = rank == 3;
  const size_t d = p.one_d ? 1 : 2;
  if (!ctx.step.has("kernel_shape")) ctx.fail("attribute kernel_shape is missing");
  const std::vector<int64_t> k = list(ctx, "kernel_shape", d, 1, 1), s = list(ctx, "strides", d, 1, 1);
  const std::vector<int64_t> l = list(ctx, "dilations", d, 1, 1), g = list(ctx, "pads", 2 * d, 0, 0);
  p.w = {k[d - 1], s[d - 1], l[d - 1], g[d - 1], g[2 * d - 1]};
  if (!p.one_d) p.h = {k[0], s[0], l[0], g[0], g[2]};
  p.ceil = ctx.step.i("ceil_mode", 0) != 0;
  return p;
}

void infer_window(const Window& window, InferContext& ctx) {
  const Shape& x = ctx.in[0].shape;
  if (x.rank != (window.one_d ? 3 : 4)) ctx.fail("the input has rank %d, expected %d", x.rank, window.one_d ? 3 : 4);
  Shape y = x;
  auto size = [&](const WindowAxis& a, int64_t n) {
    if (n < 0 || n > (int64_t(1) << 40)) ctx.fail("input size %lld is out of range", (long long)n);
    if (n + a.begin + a.end < a.extent())
      ctx.fail("the window covers %lld pixels but the padded input has only %lld", (long long)a.extent(),
               (long long)(n + a.begin + a.end));
    return window.outputs(a, n);
  };
  y[-2] = size(window.w, x[-2]);
  if (!window.one_d) y[1] = size(window.h, x[1]);
  set_shape(ctx, 0, y);
}

}  // namespace octavo
