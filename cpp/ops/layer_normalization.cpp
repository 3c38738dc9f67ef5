// LayerNormalization over the axes from `axis` on (kernels/layernorm_f32/layernorm_f32.h has the formula).
#include "kernels/layernorm_f32/layernorm_f32.h"

#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

class LayerNormalization : public Op {
 public:
  explicit LayerNormalization(const BindContext& ctx)
      : kernel_(*static_cast<const LayernormF32*>(find_kernel("layernorm_f32", ctx.isa))) {
    check_arity(ctx, 1, 3);
    for (int k = 0; k < 3; k++)
      if (ctx.has(k)) ctx.need(k, DType::f32);
    check_dtype(ctx, 0, DType::f32);
    axis_ = ctx.step.i("axis", -1);
    epsilon_ = float(ctx.step.f("epsilon", 1e-5));
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    const int64_t n = x.span(normal_axis(axis_, x.rank, ctx.step), x.rank);
    for (int k = 1; k < 3; k++)
      if (ctx.has(k) && ctx.in[k].elements() != n)
        ctx.fail("input %d has %lld elements, expected %lld (one each normalised element)", k,
                 (long long)ctx.in[k].elements(), (long long)n);
    set_shape(ctx, 0, x);
  }

  void run(RunContext& ctx) const override {
    const Shape& s = ctx.in[0].shape;
    const int64_t total = s.elements();
    if (total == 0) return;
    const int64_t n = s.span(int(axis_ < 0 ? axis_ + s.rank : axis_), s.rank), rows = total / n;
    const float* scale = ctx.inputs > 1 ? ctx.in[1].as<float>() : nullptr;
    const float* bias = ctx.inputs > 2 ? ctx.in[2].as<float>() : nullptr;
    const int64_t chunks = std::min(rows, ctx.pool.chunks_for(total, 16 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = rows * c / chunks, count = rows * (c + 1) / chunks - first;
      kernel_.rows(ctx.in[0].as<float>() + first * n, scale, bias, ctx.out[0].as<float>() + first * n, count, n,
                   epsilon_);
    });
  }

  bool in_place(int k) const override { return k == 0; }
  std::string kernel() const override { return "layernorm_f32"; }

 private:
  const LayernormF32& kernel_;
  int64_t axis_;
  float epsilon_;
};

}  // namespace

std::unique_ptr<Op> make_LayerNormalization(const BindContext& ctx) {
  return std::make_unique<LayerNormalization>(ctx);
}

}  // namespace octavo
