// Softmax and LogSoftmax over one axis (kernels/softmax_f32/softmax_f32.h has the formula).
#include "kernels/softmax_f32/softmax_f32.h"

#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

float log_of(float x) { return unary_f32(UnaryFn::Log, x, 0, 0); }

class Softmax : public Op {
 public:
  explicit Softmax(const BindContext& ctx)
      : kernel_(*static_cast<const SoftmaxF32*>(find_kernel("softmax_f32", ctx.isa))) {
    check_arity(ctx, 1, 1);
    ctx.need(0, DType::f32);
    check_dtype(ctx, 0, DType::f32);
    axis_ = ctx.step.i("axis", -1);
    log_ = ctx.step.i("log", 0) != 0;
  }

  void infer(InferContext& ctx) const override {
    if (ctx.in[0].shape.rank > 0) normal_axis(axis_, ctx.in[0].shape.rank, ctx.step);
    set_shape(ctx, 0, ctx.in[0].shape);
  }

  void run(RunContext& ctx) const override {
    const Shape& s = ctx.in[0].shape;
    const int64_t total = s.elements();
    if (total == 0) return;
    const int axis = s.rank == 0 ? 0 : int(axis_ < 0 ? axis_ + s.rank : axis_);
    const int64_t n = s.rank == 0 ? 1 : s.dim[axis], inner = s.rank == 0 ? 1 : s.span(axis + 1, s.rank);
    const int64_t outer = total / n / inner, groups = (inner + 15) / 16, units = outer * groups;
    const int64_t chunks = std::min(units, ctx.pool.chunks_for(total, 8 << 10));
    const float* x = ctx.in[0].as<float>();
    float* y = ctx.out[0].as<float>();
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      if (inner == 1) {
        const int64_t first = units * c / chunks;
        kernel_.rows(x + first * n, y + first * n, units * (c + 1) / chunks - first, n, log_, log_of);
        return;
      }
      for (int64_t u = units * c / chunks; u < units * (c + 1) / chunks; u++) {
        const int64_t first = u % groups * 16, at = u / groups * n * inner + first;
        kernel_.columns(x + at, y + at, n, inner, int(std::min<int64_t>(16, inner - first)), log_, log_of);
      }
    });
  }

  bool in_place(int k) const override { return k == 0; }
  std::string kernel() const override { return "softmax_f32"; }

 private:
  const SoftmaxF32& kernel_;
  int64_t axis_;
  bool log_;
};

}  // namespace

std::unique_ptr<Op> make_Softmax(const BindContext& ctx) { return std::make_unique<Softmax>(ctx); }

}  // namespace octavo
