// Transpose: y[i_perm[0], i_perm[1], ...] = x[i_0, i_1, ...]; without perm the axes are reversed.
#include "ops/copy.h"

namespace octavo {
namespace {

class Transpose : public Op {
 public:
  explicit Transpose(const BindContext& ctx) {
    check_arity(ctx, 1, 1);
    check_same_dtype(ctx, 0, 0);
    given_ = ctx.step.has("perm");
    if (!given_) return;
    const std::vector<int64_t> perm = ctx.step.ints("perm");
    if (perm.size() > size_t(kMaxRank)) ctx.fail("perm has %zu axes, at most %d are possible", perm.size(), kMaxRank);
    bool seen[kMaxRank] = {};
    for (int64_t p : perm) {
      if (p < 0 || p >= int64_t(perm.size()) || seen[p])
        ctx.fail("perm must hold each of 0..%d once", int(perm.size()) - 1);
      seen[p] = true;
      perm_[rank_++] = int(p);
    }
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    if (given_ && x.rank != rank_) ctx.fail("perm has %d axes, but the input has rank %d", rank_, x.rank);
    Shape y;
    y.rank = x.rank;
    for (int a = 0; a < x.rank; a++) y.dim[a] = x.dim[source(a, x.rank)];
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Strides from = strides_of(x), to = strides_of(y);
    CopyAxes axes;
    for (int a = 0; a < y.shape.rank; a++) axes.add(y.shape.dim[a], from.of[source(a, y.shape.rank)], to.of[a]);
    copy_nd(ctx.pool, axes, size_of(x.dtype), x.data, y.data);
  }

  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }

 private:
  int source(int a, int rank) const { return given_ ? perm_[a] : rank - 1 - a; }

  bool given_ = false;
  int rank_ = 0;
  int perm_[kMaxRank] = {};
};

}  // namespace

std::unique_ptr<Op> make_Transpose(const BindContext& ctx) { return std::make_unique<Transpose>(ctx); }

}  // namespace octavo
