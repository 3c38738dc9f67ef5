// Split: x cut along `axis` into pieces of the sizes in input 1 or in the attribute `split`, else into equal pieces
// (the last one may be smaller).
#include <algorithm>

#include "ops/copy.h"

namespace octavo {
namespace {

class Split : public Op {
 public:
  explicit Split(const BindContext& ctx) : axis_(ctx.step.i("axis", 0)) {
    const int outputs = int(ctx.outputs.size());
    check_arity(ctx, 1, 2, 1, outputs < 1 ? 1 : outputs);
    for (int k = 0; k < outputs; k++) check_same_dtype(ctx, 0, k);
    if (ctx.has(1)) check_index_dtype(ctx, 1);
    const int64_t declared = ctx.step.i("num_outputs", outputs);
    if (declared != outputs) ctx.fail("num_outputs is %lld, but there are %d outputs", (long long)declared, outputs);
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    const int axis = normal_axis(axis_, x.rank, ctx.step);
    const size_t outputs = ctx.step.outputs.size();
    const int64_t whole = x.dim[axis];
    std::vector<int64_t> sizes;
    if (ctx.has(1)) {
      if (!ctx.value(1, sizes)) return;
    } else if (ctx.step.has("split")) {
      sizes = ctx.step.ints("split");
    } else {
      const int64_t part = (whole + int64_t(outputs) - 1) / int64_t(outputs);
      for (size_t k = 0; k < outputs; k++) sizes.push_back(std::clamp<int64_t>(whole - int64_t(k) * part, 0, part));
    }
    if (sizes.size() != outputs) ctx.fail("%zu sizes are given for %zu outputs", sizes.size(), outputs);
    int64_t left = whole;
    for (size_t k = 0; k < outputs; k++) {
      if (sizes[k] < 0 || sizes[k] > left)
        ctx.fail("the sizes must not be negative and must add up to %lld, size %zu is %lld", (long long)whole, k,
                 (long long)sizes[k]);
      left -= sizes[k];
      Shape y = x;
      y.dim[axis] = sizes[k];
      set_shape(ctx, int(k), y);
    }
    if (left != 0)
      ctx.fail("the sizes add up to %lld, axis %d has %lld", (long long)(whole - left), axis, (long long)whole);
  }

  void run(RunContext& ctx) const override {
    const View& x = ctx.in[0];
    const int rank = x.shape.rank, axis = int(axis_ < 0 ? axis_ + rank : axis_);
    const Strides from = strides_of(x);
    const uint8_t* source = x.as<uint8_t>();
    for (int k = 0; k < ctx.outputs; k++) {
      const View& y = ctx.out[k];
      if (y.data) {
        const Strides to = strides_of(y);
        CopyAxes axes;
        for (int a = 0; a < rank; a++) axes.add(y.shape.dim[a], from.of[a], to.of[a]);
        copy_nd(ctx.pool, axes, size_of(x.dtype), source, y.data);
      }
      source += y.shape.dim[axis] * from.of[axis];
    }
  }

  bool strided_in(int k) const override { return k == 0; }

 private:
  int64_t axis_;
};

}  // namespace

std::unique_ptr<Op> make_Split(const BindContext& ctx) { return std::make_unique<Split>(ctx); }

}  // namespace octavo
