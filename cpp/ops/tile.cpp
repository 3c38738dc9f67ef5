// Tile: y = x repeated input 1 times along each axis.
#include "ops/copy.h"

namespace octavo {
namespace {

class Tile : public Op {
 public:
  explicit Tile(const BindContext& ctx) {
    check_arity(ctx, 2, 2);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
  }

  void infer(InferContext& ctx) const override {
    std::vector<int64_t> repeats;
    if (!ctx.value(1, repeats)) return;
    Shape y = ctx.in[0].shape;
    if (repeats.size() != size_t(y.rank)) ctx.fail("%zu repeats for an input of rank %d", repeats.size(), y.rank);
    for (int a = 0; a < y.rank; a++) {
      const int64_t n = repeats[size_t(a)];
      if (n < 0) ctx.fail("the repeats hold %lld", (long long)n);
      if (n > 0 && y.dim[a] > (int64_t(1) << 40) / n) ctx.fail("axis %d would have more than 2^40 elements", a);
      y.dim[a] *= n;
    }
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Strides from = strides_of(x), to = strides_of(y);
    CopyAxes axes;
    for (int a = 0; a < y.shape.rank; a++) {
      if (x.shape.dim[a] == 0) return;
      axes.add(y.shape.dim[a] / x.shape.dim[a], 0, x.shape.dim[a] * to.of[a]);
      axes.add(x.shape.dim[a], from.of[a], to.of[a]);
    }
    copy_nd(ctx.pool, axes, size_of(x.dtype), x.data, y.data);
  }
};

}  // namespace

std::unique_ptr<Op> make_Tile(const BindContext& ctx) { return std::make_unique<Tile>(ctx); }

}  // namespace octavo
