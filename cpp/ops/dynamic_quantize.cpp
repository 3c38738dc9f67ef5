// DynamicQuantizeLinear, as ONNX defines it:
//   low = min(0, min x), high = max(0, max x);  scale = fl(fl(high - low) / 255), or 1 when high == low
//   zp = clamp(rne(fl(0 - fl(low / scale))), 0, 255);  y = clamp(rne(fl(x / scale)) + zp, 0, 255)
// NaNs do not count in the range and quantize to zp. ONNX's formula divides zero by zero for a tensor of zeros; the
// scale 1 is onnxruntime's answer.
#include <algorithm>

#include "core/arith.h"
#include "kernels/quantize/quantize.h"
#include "ops/copy.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 48 << 10;  // elements of a chunk
constexpr int64_t kMaxChunks = 64;

class DynamicQuantizeLinear : public Op {
 public:
  explicit DynamicQuantizeLinear(const BindContext& ctx) : kernel_(quantize_f32(ctx.isa)) {
    check_arity(ctx, 1, 1, 3, 3);
    ctx.need(0, DType::f32);
    check_dtype(ctx, 0, DType::u8);
    check_dtype(ctx, 1, DType::f32);
    check_dtype(ctx, 2, DType::u8);
  }

  void infer(InferContext& ctx) const override {
    set_shape(ctx, 0, ctx.in[0].shape);
    set_shape(ctx, 1, Shape{});
    set_shape(ctx, 2, Shape{});
  }

  size_t scratch_bytes(const View*, const View*, int) const override { return kMaxChunks * 2 * sizeof(float); }

  void run(RunContext& ctx) const override {
    const float* x = ctx.in[0].as<float>();
    const int64_t n = ctx.in[0].elements();
    const int64_t chunks = std::min(kMaxChunks, ctx.pool.chunks_for(n, kGrain));
    float* ranges = reinterpret_cast<float*>(ctx.scratch);
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = n * c / chunks;
      kernel_.min_max(x + first, n * (c + 1) / chunks - first, ranges + 2 * c);
    });
    float low = 0.0f, high = 0.0f;
    for (int64_t c = 0; c < chunks; c++) low = std::min(low, ranges[2 * c]), high = std::max(high, ranges[2 * c + 1]);
    const float scale = high == low ? 1.0f : (high - low) / 255.0f;
    const int32_t zp = quantize_value(0.0f - low / scale, 0, 0, 255);
    if (ctx.outputs > 1 && ctx.out[1].data) *ctx.out[1].as<float>() = scale;
    if (ctx.outputs > 2 && ctx.out[2].data) *ctx.out[2].as<uint8_t>() = uint8_t(zp);
    uint8_t* y = ctx.out[0].as<uint8_t>();
    const QuantizeParams p = {scale, zp, 0, 255};
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = n * c / chunks;
      kernel_.to_u8(y + first, x + first, n * (c + 1) / chunks - first, p);
    });
  }

  std::string kernel() const override { return std::string("quantize ") + kernel_.isa; }

 private:
  const QuantizeF32& kernel_;
};

}  // namespace

std::unique_ptr<Op> make_DynamicQuantizeLinear(const BindContext& ctx) {
  return std::make_unique<DynamicQuantizeLinear>(ctx);
}

}  // namespace octavo
