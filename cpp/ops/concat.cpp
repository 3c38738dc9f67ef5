// Concat: the inputs one after the other along `axis`.
#include "ops/copy.h"

namespace octavo {
namespace {

class Concat : public Op {
 public:
  explicit Concat(const BindContext& ctx) : axis_(ctx.step.i("axis")) {
    const int inputs = int(ctx.inputs.size());
    check_arity(ctx, 1, inputs < 1 ? 1 : inputs);
    for (int k = 0; k < inputs; k++) {
      if (!ctx.has(k)) ctx.fail("input %d must be present", k);
      check_same_dtype(ctx, k, 0);
    }
  }

  void infer(InferContext& ctx) const override {
    Shape y = ctx.in[0].shape;
    if (y.rank == 0) ctx.fail("scalars cannot be concatenated; unsqueeze them first");
    const int axis = normal_axis(axis_, y.rank, ctx.step);
    for (size_t k = 1; k < ctx.in.size(); k++) {
      const Shape& x = ctx.in[k].shape;
      if (x.rank != y.rank) ctx.fail("input %zu has rank %d, input 0 has rank %d", k, x.rank, y.rank);
      for (int a = 0; a < y.rank; a++)
        if (a != axis && x.dim[a] != y.dim[a])
          ctx.fail("input %zu has size %lld on axis %d, input 0 has %lld", k, (long long)x.dim[a], a,
                   (long long)y.dim[a]);
      y.dim[axis] += x.dim[axis];
    }
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View& y = ctx.out[0];
    const int rank = y.shape.rank, axis = int(axis_ < 0 ? axis_ + rank : axis_);
    const Strides to = strides_of(y);
    uint8_t* target = y.as<uint8_t>();
    for (int k = 0; k < ctx.inputs; k++) {
      const View& x = ctx.in[k];
      const Strides from = strides_of(x);
      CopyAxes axes;
      for (int a = 0; a < rank; a++) axes.add(x.shape.dim[a], from.of[a], to.of[a]);
      // The planner may have had the producer write into its place already.
      if (x.data != target) copy_nd(ctx.pool, axes, size_of(y.dtype), x.data, target);
      target += x.shape.dim[axis] * to.of[axis];
    }
  }

  bool strided_in(int) const override { return true; }
  bool strided_out() const override { return true; }

 private:
  int64_t axis_;
};

}  // namespace

std::unique_ptr<Op> make_Concat(const BindContext& ctx) { return std::make_unique<Concat>(ctx); }

}  // namespace octavo
