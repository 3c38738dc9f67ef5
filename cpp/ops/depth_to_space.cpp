// DepthToSpace and SpaceToDepth on [N, C, H, W]: blocks of channels become blocks of pixels, and back.
#include "ops/copy.h"

namespace octavo {
namespace {

int64_t block_size(const BindContext& ctx) {
  const int64_t b = ctx.step.i("blocksize");
  if (b < 1 || b > 1 << 15) ctx.fail("blocksize is %lld", (long long)b);
  return b;
}

class DepthToSpace : public Op {
 public:
  explicit DepthToSpace(const BindContext& ctx) : block_(block_size(ctx)) {
    check_arity(ctx, 1, 1);
    check_same_dtype(ctx, 0, 0);
    const std::string mode = ctx.step.s("mode", "DCR");
    if (mode != "DCR" && mode != "CRD") ctx.fail("mode '%s' is neither DCR nor CRD", mode.c_str());
    depth_first_ = mode == "DCR";
  }

  void infer(InferContext& ctx) const override {
    Shape y = ctx.in[0].shape;
    if (y.rank != 4) ctx.fail("the input must have rank 4, it has %d", y.rank);
    if (y.dim[1] % (block_ * block_) != 0)
      ctx.fail("%lld channels cannot be divided by blocksize %lld squared", (long long)y.dim[1], (long long)block_);
    y.dim[1] /= block_ * block_;
    if (y.dim[2] > (int64_t(1) << 40) || y.dim[3] > (int64_t(1) << 40)) ctx.fail("the image is too large");
    y.dim[2] *= block_;
    y.dim[3] *= block_;
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Strides from = strides_of(x), to = strides_of(y);
    const int64_t channels = y.shape.dim[1], channel = from.of[1];
    // Input channel of (row in block, column in block, output channel): DCR (r, s, c), CRD (c, r, s).
    const int64_t r = depth_first_ ? block_ * channels * channel : block_ * channel;
    const int64_t s = depth_first_ ? channels * channel : channel;
    const int64_t c = depth_first_ ? channel : block_ * block_ * channel;
    CopyAxes axes;
    axes.add(x.shape.dim[0], from.of[0], to.of[0]);
    axes.add(channels, c, to.of[1]);
    axes.add(x.shape.dim[2], from.of[2], to.of[2] * block_);
    axes.add(block_, r, to.of[2]);
    axes.add(x.shape.dim[3], from.of[3], to.of[3] * block_);
    axes.add(block_, s, to.of[3]);
    copy_nd(ctx.pool, axes, size_of(x.dtype), x.data, y.data);
  }

 private:
  int64_t block_;
  bool depth_first_ = true;
};

class SpaceToDepth : public Op {
 public:
  explicit SpaceToDepth(const BindContext& ctx) : block_(block_size(ctx)) {
    check_arity(ctx, 1, 1);
    check_same_dtype(ctx, 0, 0);
  }

  void infer(InferContext& ctx) const override {
    Shape y = ctx.in[0].shape;
    if (y.rank != 4) ctx.fail("the input must have rank 4, it has %d", y.rank);
    if (y.dim[2] % block_ != 0 || y.dim[3] % block_ != 0)
      ctx.fail("an image of %lld x %lld cannot be divided by blocksize %lld", (long long)y.dim[2], (long long)y.dim[3],
               (long long)block_);
    if (y.dim[1] > (int64_t(1) << 32)) ctx.fail("%lld channels are too many", (long long)y.dim[1]);
    y.dim[1] *= block_ * block_;
    y.dim[2] /= block_;
    y.dim[3] /= block_;
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Strides from = strides_of(x), to = strides_of(y);
    const int64_t channels = x.shape.dim[1];
    CopyAxes axes;  // output channel (row in block, column in block, input channel)
    axes.add(x.shape.dim[0], from.of[0], to.of[0]);
    axes.add(block_, from.of[2], block_ * channels * to.of[1]);
    axes.add(block_, from.of[3], channels * to.of[1]);
    axes.add(channels, from.of[1], to.of[1]);
    axes.add(y.shape.dim[2], from.of[2] * block_, to.of[2]);
    axes.add(y.shape.dim[3], from.of[3] * block_, to.of[3]);
    copy_nd(ctx.pool, axes, size_of(x.dtype), x.data, y.data);
  }

 private:
  int64_t block_;
};

}  // namespace

std::unique_ptr<Op> make_DepthToSpace(const BindContext& ctx) { return std::make_unique<DepthToSpace>(ctx); }
std::unique_ptr<Op> make_SpaceToDepth(const BindContext& ctx) { return std::make_unique<SpaceToDepth>(ctx); }

}  // namespace octavo
