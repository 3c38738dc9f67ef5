// QMul: y = clamp(rne(fl32((a - za) * (b - zb)) * m + zp_before) + (zp - zp_before), lo, hi), numpy broadcasting. With
// `fixed` in place of m: the fixed scheme's product (kernels/eltwise_fixed/eltwise_fixed.h).
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "ops/copy.h"
#include "ops/quantized_attrs.h"
#include "ops/row_plan.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 64 << 10;  // elements of a chunk: some 10 us

MulS8Params parameters(const BindContext& ctx, const OutputRange& r, const MulS8Params*) {
  const int32_t before = zp_before(ctx);
  return {byte_attribute(ctx, "za", 0),
          byte_attribute(ctx, "zb", 0),
          r.zp - before,
          r.lo,
          r.hi,
          finite_attribute(ctx, "m"),
          float(before)};
}
MulFixedParams parameters(const BindContext& ctx, const OutputRange& r, const MulFixedParams*) {
  const FixedScale m = fixed_attribute(ctx, "fixed");
  return {byte_attribute(ctx, "za", 0), byte_attribute(ctx, "zb", 0), r.zp, r.lo, r.hi, {m.multiplier, m.shift}};
}

MulS8Params swapped(const MulS8Params& p) { return {p.zb, p.za, p.zp, p.lo, p.hi, p.m, p.before}; }
MulFixedParams swapped(const MulFixedParams& p) { return {p.zb, p.za, p.zp, p.lo, p.hi, p.m}; }

// Kernel and Params: EltwiseS8 and MulS8Params, or the fixed scheme's.
template <class Kernel, class Params>
class QMul : public Op {
 public:
  QMul(const BindContext& ctx, const Kernel& kernel) : kernel_(kernel) {
    check_arity(ctx, 2, 2);
    ctx.need(0, DType::u8);
    ctx.need(1, DType::u8);
    check_dtype(ctx, 0, DType::u8);
    p_ = parameters(ctx, output_range(ctx, "zp"), static_cast<const Params*>(nullptr));
  }

  void infer(InferContext& ctx) const override {
    Shape y;
    if (!broadcast(ctx.in[0].shape, ctx.in[1].shape, y)) ctx.fail("the inputs' shapes do not broadcast");
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const RowPlan plan = plan_rows(ctx.out[0], ctx.in[0], &ctx.in[1]);
    uint8_t* y = ctx.out[0].as<uint8_t>();
    const uint8_t *a = ctx.in[0].as<uint8_t>(), *b = ctx.in[1].as<uint8_t>();
    const Params other = swapped(p_);
    plan.run(ctx.pool, kGrain, [&](const int64_t* at, int64_t rows, int64_t cols) {
      const int64_t ldy = plan.row_stride[0], lda = plan.row_stride[1], ldb = plan.row_stride[2];
      if (plan.repeated[2])
        kernel_.mul_scalar(y + at[0], ldy, a + at[1], lda, b + at[2], ldb, rows, cols, p_);
      else if (plan.repeated[1])
        kernel_.mul_scalar(y + at[0], ldy, b + at[2], ldb, a + at[1], lda, rows, cols, other);
      else
        kernel_.mul(y + at[0], ldy, a + at[1], lda, b + at[2], ldb, rows, cols, p_);
    });
  }

  bool in_place(int k) const override { return k < 2; }
  bool strided_in(int k) const override { return k < 2; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return kernel_name(kernel_); }

 private:
  const Kernel& kernel_;
  Params p_;
};

}  // namespace

std::unique_ptr<Op> make_QMul(const BindContext& ctx) {
  if (ctx.step.has("fixed")) return std::make_unique<QMul<EltwiseFixed, MulFixedParams>>(ctx, eltwise_fixed(ctx.isa));
  return std::make_unique<QMul<EltwiseS8, MulS8Params>>(ctx, eltwise_s8(ctx.isa));
}

}  // namespace octavo
