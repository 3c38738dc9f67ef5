// Lut: y = table[x] (256 bytes or floats). Flip8: y = x xor 0x80, which turns s8 into u8 and back.
#include "kernels/lut_s8/lut_s8.h"

#include "ops/copy.h"
#include "ops/quantized_attrs.h"
#include "ops/row_plan.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 256 << 10;      // bytes of a chunk
constexpr int64_t kFloatGrain = 32 << 10;  // floats of a chunk

class Lut : public Op {
 public:
  explicit Lut(const BindContext& ctx) : kernel_(lut_s8(ctx.isa)) {
    check_arity(ctx, 2, 2);
    ctx.need(0, DType::u8);
    const View* t = ctx.constant_or_null(1);
    if (!t || (t->dtype != DType::u8 && t->dtype != DType::f32))
      ctx.fail("the table (input 1) must be a constant of dtype uint8 or float32");
    if (t->elements() != 256) ctx.fail("the table has %lld entries, expected 256", (long long)t->elements());
    check_dtype(ctx, 0, t->dtype);
    if (t->dtype == DType::u8) bytes_ = t->as<uint8_t>();
    if (t->dtype == DType::f32) floats_ = t->as<float>();
  }

  void infer(InferContext& ctx) const override { set_shape(ctx, 0, ctx.in[0].shape); }

  void run(RunContext& ctx) const override {
    const uint8_t* x = ctx.in[0].as<uint8_t>();
    if (floats_) {
      float* y = ctx.out[0].as<float>();
      const int64_t n = ctx.out[0].elements(), chunks = ctx.pool.chunks_for(n, kFloatGrain);
      ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
        const int64_t first = n * c / chunks;
        kernel_.floats(y + first, x + first, n * (c + 1) / chunks - first, floats_);
      });
      return;
    }
    uint8_t* y = ctx.out[0].as<uint8_t>();
    const RowPlan plan = plan_rows(ctx.out[0], ctx.in[0], nullptr);
    plan.run(ctx.pool, kGrain, [&](const int64_t* at, int64_t rows, int64_t cols) {
      kernel_.bytes(y + at[0], plan.row_stride[0], x + at[1], plan.row_stride[1], rows, cols, bytes_);
    });
  }

  bool in_place(int k) const override { return k == 0 && bytes_ != nullptr; }
  bool strided_in(int k) const override { return k == 0 && bytes_ != nullptr; }
  bool strided_out() const override { return bytes_ != nullptr; }
  std::string kernel() const override { return std::string("lut_s8 ") + kernel_.isa; }

 private:
  const LutS8& kernel_;
  const uint8_t* bytes_ = nullptr;
  const float* floats_ = nullptr;
};

class Flip8 : public Op {
 public:
  explicit Flip8(const BindContext& ctx) : kernel_(lut_s8(ctx.isa)) {
    check_arity(ctx, 1, 1);
    const DType x = ctx.inputs[0].dtype;
    if (!ctx.has(0) || (x != DType::u8 && x != DType::s8)) ctx.fail("the input must be uint8 or int8");
    check_dtype(ctx, 0, x == DType::u8 ? DType::s8 : DType::u8);
  }

  void infer(InferContext& ctx) const override { set_shape(ctx, 0, ctx.in[0].shape); }

  void run(RunContext& ctx) const override {
    const uint8_t* x = ctx.in[0].as<uint8_t>();
    uint8_t* y = ctx.out[0].as<uint8_t>();
    const RowPlan plan = plan_rows(ctx.out[0], ctx.in[0], nullptr);
    plan.run(ctx.pool, kGrain, [&](const int64_t* at, int64_t rows, int64_t cols) {
      kernel_.flip(y + at[0], plan.row_stride[0], x + at[1], plan.row_stride[1], rows, cols);
    });
  }

  bool in_place(int k) const override { return k == 0; }
  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return std::string("lut_s8 ") + kernel_.isa; }

 private:
  const LutS8& kernel_;
};

}  // namespace

std::unique_ptr<Op> make_Lut(const BindContext& ctx) { return std::make_unique<Lut>(ctx); }
std::unique_ptr<Op> make_Flip8(const BindContext& ctx) { return std::make_unique<Flip8>(ctx); }

}  // namespace octavo
