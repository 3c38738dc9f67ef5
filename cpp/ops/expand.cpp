// Expand: y = x broadcast against the shape in input 1 (both ways, as numpy does).
#include "ops/copy.h"

namespace octavo {
namespace {

class Expand : public Op {
 public:
  explicit Expand(const BindContext& ctx) {
    check_arity(ctx, 2, 2);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
  }

  void infer(InferContext& ctx) const override {
    std::vector<int64_t> wanted;
    if (!ctx.value(1, wanted)) return;
    if (wanted.size() > size_t(kMaxRank)) ctx.fail("rank %zu is more than the %d supported", wanted.size(), kMaxRank);
    Shape target, y;
    target.rank = int(wanted.size());
    for (int a = 0; a < target.rank; a++) {
      target.dim[a] = wanted[size_t(a)];
      if (target.dim[a] < 0) ctx.fail("the shape holds %lld", (long long)target.dim[a]);
    }
    if (!broadcast(ctx.in[0].shape, target, y)) ctx.fail("the input cannot be broadcast to the shape given");
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Strides from = strides_of(x), to = strides_of(y);
    const int shift = y.shape.rank - x.shape.rank;
    CopyAxes axes;
    for (int a = 0; a < y.shape.rank; a++) {
      const bool repeated = a < shift || x.shape.dim[a - shift] == 1;
      axes.add(y.shape.dim[a], repeated ? 0 : from.of[a - shift], to.of[a]);
    }
    copy_nd(ctx.pool, axes, size_of(x.dtype), x.data, y.data);
  }
};

}  // namespace

std::unique_ptr<Op> make_Expand(const BindContext& ctx) { return std::make_unique<Expand>(ctx); }

}  // namespace octavo
