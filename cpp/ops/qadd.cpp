// QAdd: quantized_add of two u8 tensors with numpy broadcasting, then a table where there is one. With fixed_a, fixed_b
// and fixed_y in place of the scales: the fixed scheme's addition (kernels/eltwise_fixed/eltwise_fixed.h).
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/lut_s8/lut_s8.h"
#include "ops/copy.h"
#include "ops/quantized_attrs.h"
#include "ops/row_plan.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 64 << 10;  // elements of a chunk: some 10 us

AddS8Params swapped(const AddS8Params& p) {
  return {p.zb, p.za, p.zp, p.lo, p.hi, p.sb, p.sa, p.sy, p.c, p.ratio, !p.inner_a};
}
AddFixedParams swapped(const AddFixedParams& p) { return {p.zb, p.za, p.zp, p.lo, p.hi, p.b, p.a, p.y}; }

AddS8Params parameters(const BindContext& ctx, const AddS8Params*) { return kernel_params(add_params(ctx, "")); }
AddFixedParams parameters(const BindContext& ctx, const AddFixedParams*) { return add_fixed_attributes(ctx, ""); }

// Kernel and Params: EltwiseS8 and AddS8Params, or the fixed scheme's.
template <class Kernel, class Params>
class QAdd : public Op {
 public:
  QAdd(const BindContext& ctx, const Kernel& kernel) : kernel_(kernel), lut_(lut_s8(ctx.isa)) {
    check_arity(ctx, 2, 3);
    ctx.need(0, DType::u8);
    ctx.need(1, DType::u8);
    check_dtype(ctx, 0, DType::u8);
    p_ = parameters(ctx, static_cast<const Params*>(nullptr));
    table_ = byte_table(ctx, 2);
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
      uint8_t* to = y + at[0];
      const int64_t ldy = plan.row_stride[0], lda = plan.row_stride[1], ldb = plan.row_stride[2];
      if (plan.repeated[2])
        kernel_.add_scalar(to, ldy, a + at[1], lda, b + at[2], ldb, rows, cols, p_);
      else if (plan.repeated[1])
        kernel_.add_scalar(to, ldy, b + at[2], ldb, a + at[1], lda, rows, cols, other);
      else
        kernel_.add(to, ldy, a + at[1], lda, b + at[2], ldb, rows, cols, p_);
      if (table_) lut_.bytes(to, ldy, to, ldy, rows, cols, table_);
    });
  }

  bool in_place(int k) const override { return k < 2; }
  bool strided_in(int k) const override { return k < 2; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return kernel_name(kernel_); }

 private:
  const Kernel& kernel_;
  const LutS8& lut_;
  Params p_;
  const uint8_t* table_;
};

}  // namespace

std::unique_ptr<Op> make_QAdd(const BindContext& ctx) {
  if (ctx.step.has("fixed_y")) return std::make_unique<QAdd<EltwiseFixed, AddFixedParams>>(ctx, eltwise_fixed(ctx.isa));
  return std::make_unique<QAdd<EltwiseS8, AddS8Params>>(ctx, eltwise_s8(ctx.isa));
}

}  // namespace octavo
