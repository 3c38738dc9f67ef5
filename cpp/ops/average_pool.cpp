// AveragePool over channels-last images: the window's pixels are added in row-major order from 0, then divided by their
// number (or by the window's size inside the pads, with count_include_pad).
#include <cstring>

#include "ops/copy.h"
#include "ops/float_common.h"
#include "ops/qconv.h"
#include "ops/window.h"

namespace octavo {
namespace {

class AveragePool : public Op {
 public:
  explicit AveragePool(const BindContext& ctx)
      : window_(parse_window(ctx)),
        eltwise_(eltwise_f32(ctx.isa)),
        include_pad_(ctx.step.i("count_include_pad", 0) != 0) {
    check_arity(ctx, 1, 1);
    ctx.need(0, DType::f32);
    check_dtype(ctx, 0, DType::f32);
  }

  void infer(InferContext& ctx) const override { infer_window(window_, ctx); }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Image x = image_of(ctx.in[0], window_.one_d), y = image_of(ctx.out[0], window_.one_d);
    const int64_t pixels = y.n * y.h * y.w;
    const int64_t taps = std::min(window_.h.kernel, x.h) * std::min(window_.w.kernel, x.w);  // but for clipped ones
    const int64_t chunks = std::min(pixels, ctx.pool.chunks_for(pixels * y.c * taps, 64 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t i = pixels * c / chunks; i < pixels * (c + 1) / chunks; i++)
        pixel(x, y, i / (y.w * y.h), i / y.w % y.h, i % y.w);
    });
  }

  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return "eltwise_f32"; }

 private:
  void pixel(const Image& x, const Image& y, int64_t n, int64_t oy, int64_t ox) const {
    const WindowAxis::Taps rows = window_.h.taps(oy, x.h), cols = window_.w.taps(ox, x.w);
    const float* base = reinterpret_cast<const float*>(x.data) + n * x.image_pitch;
    float* to = reinterpret_cast<float*>(y.data) + n * y.image_pitch + oy * y.row_pitch + ox * y.pixel_pitch;
    std::memset(to, 0, size_t(y.c) * 4);
    for (int64_t r = 0; r < rows.count; r++)
      for (int64_t k = 0; k < cols.count; k++) {
        const float* tap = base + (rows.first + r * window_.h.dilation) * x.row_pitch +
                           (cols.first + k * window_.w.dilation) * x.pixel_pitch;
        eltwise_.binary(int(BinaryFn::Add), 0, to, tap, to, y.c);
      }
    int64_t count = rows.count * cols.count;
    if (include_pad_)
      count = window_.h.taps(oy, x.h, window_.h.begin, window_.h.end).count *
              window_.w.taps(ox, x.w, window_.w.begin, window_.w.end).count;
    const float n_f = float(count);
    eltwise_.binary(int(BinaryFn::Div), 2, to, &n_f, to, y.c);
  }

  Window window_;
  const EltwiseF32& eltwise_;
  bool include_pad_;
};

}  // namespace

std::unique_ptr<Op> make_AveragePool(const BindContext& ctx) { return std::make_unique<AveragePool>(ctx); }

}  // namespace octavo
