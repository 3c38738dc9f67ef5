// Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same bytes under another shape.
#include "ops/copy.h"

namespace octavo {
namespace {

class Alias : public Op {
 public:
  Alias(const BindContext& ctx, int least_inputs, int most_inputs) {
    check_arity(ctx, least_inputs, most_inputs);
    check_same_dtype(ctx, 0, 0);
    if (ctx.has(1)) check_index_dtype(ctx, 1);
  }
  int alias_of() const override { return 0; }
  // Only reached when a caller chose not to alias.
  void run(RunContext& ctx) const override {
    if (ctx.out[0].data != ctx.in[0].data) copy_bytes(ctx.pool, ctx.in[0].bytes(), ctx.in[0].data, ctx.out[0].data);
  }
};

class Reshape : public Alias {
 public:
  explicit Reshape(const BindContext& ctx) : Alias(ctx, 2, 2), allow_zero_(ctx.step.i("allowzero", 0) != 0) {}

  void infer(InferContext& ctx) const override {
    std::vector<int64_t> wanted;
    if (!ctx.value(1, wanted)) return;
    const Shape& x = ctx.in[0].shape;
    if (ctx.in[1].shape.rank > 1) ctx.fail("the shape must be a list of numbers, it has rank %d", ctx.in[1].shape.rank);
    if (wanted.size() > size_t(kMaxRank)) ctx.fail("rank %zu is more than the %d supported", wanted.size(), kMaxRank);
    Shape y;
    y.rank = int(wanted.size());
    int open = -1;
    for (int a = 0; a < y.rank; a++) {
      int64_t d = wanted[size_t(a)];
      if (d == 0 && !allow_zero_) {
        if (a >= x.rank) ctx.fail("the shape copies axis %d, but the input has rank %d", a, x.rank);
        d = x.dim[a];
      }
      if (d < -1) ctx.fail("the shape holds %lld", (long long)d);
      if (d == -1) {
        if (open >= 0) ctx.fail("the shape holds -1 twice");
        open = a;
        d = 1;
      }
      y.dim[a] = d;
    }
    set_shape(ctx, 0, y);  // refuses what overflows
    const int64_t have = x.elements(), rest = y.elements();
    if (open >= 0) {
      if (rest == 0) ctx.fail("-1 cannot be determined, because another axis is 0");
      if (have % rest != 0) ctx.fail("%lld elements cannot be divided by %lld", (long long)have, (long long)rest);
      y.dim[open] = have / rest;
    } else if (have != rest) {
      ctx.fail("the input has %lld elements, the new shape %lld", (long long)have, (long long)rest);
    }
    set_shape(ctx, 0, y);
  }

 private:
  bool allow_zero_;
};

class Flatten : public Alias {
 public:
  explicit Flatten(const BindContext& ctx) : Alias(ctx, 1, 1), axis_(ctx.step.i("axis", 1)) {}

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    if (axis_ < -x.rank || axis_ > x.rank) ctx.fail("axis %lld for rank %d", (long long)axis_, x.rank);
    const int axis = int(axis_ < 0 ? axis_ + x.rank : axis_);
    Shape y;
    y.rank = 2;
    y.dim[0] = x.span(0, axis);
    y.dim[1] = x.span(axis, x.rank);
    set_shape(ctx, 0, y);
  }

 private:
  int64_t axis_;
};

class Squeeze : public Alias {
 public:
  explicit Squeeze(const BindContext& ctx) : Alias(ctx, 1, 2) {}

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    std::vector<int64_t> axes;
    bool given = false;
    if (!read_axes(ctx, 1, axes, given)) return;
    const std::vector<bool> chosen = axis_set(axes, x.rank, ctx.step);
    Shape y;
    for (int a = 0; a < x.rank; a++) {
      const bool drop = given ? bool(chosen[size_t(a)]) : x.dim[a] == 1;
      if (drop && x.dim[a] != 1) ctx.fail("axis %d cannot be squeezed, its size is %lld", a, (long long)x.dim[a]);
      if (!drop) y.dim[y.rank++] = x.dim[a];
    }
    set_shape(ctx, 0, y);
  }
};

class Unsqueeze : public Alias {
 public:
  explicit Unsqueeze(const BindContext& ctx) : Alias(ctx, 1, 2) {
    if (!ctx.has(1) && !ctx.step.has("axes")) ctx.fail("Unsqueeze needs axes, as an attribute or as input 1");
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    std::vector<int64_t> axes;
    bool given = false;
    if (!read_axes(ctx, 1, axes, given)) return;
    if (axes.size() + size_t(x.rank) > size_t(kMaxRank))
      ctx.fail("rank %zu is more than the %d supported", axes.size() + size_t(x.rank), kMaxRank);
    Shape y;
    y.rank = x.rank + int(axes.size());
    const std::vector<bool> inserted = axis_set(axes, y.rank, ctx.step);
    for (int a = 0, from = 0; a < y.rank; a++) y.dim[a] = inserted[size_t(a)] ? 1 : x.dim[from++];
    set_shape(ctx, 0, y);
  }
};

class Identity : public Alias {
 public:
  explicit Identity(const BindContext& ctx) : Alias(ctx, 1, 1) {}
  void infer(InferContext& ctx) const override { set_shape(ctx, 0, ctx.in[0].shape); }
};

}  // namespace

std::unique_ptr<Op> make_Reshape(const BindContext& ctx) { return std::make_unique<Reshape>(ctx); }
std::unique_ptr<Op> make_Flatten(const BindContext& ctx) { return std::make_unique<Flatten>(ctx); }
std::unique_ptr<Op> make_Squeeze(const BindContext& ctx) { return std::make_unique<Squeeze>(ctx); }
std::unique_ptr<Op> make_Unsqueeze(const BindContext& ctx) { return std::make_unique<Unsqueeze>(ctx); }
std::unique_ptr<Op> make_Identity(const BindContext& ctx) { return std::make_unique<Identity>(ctx); }

}  // namespace octavo
