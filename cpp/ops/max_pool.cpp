// MaxPool over channels-last images (f32, u8, s8): y = max over the window's real pixels, NaN if one of them is.
#include "kernels/pool_s8/pool_s8.h"

#include "ops/copy.h"
#include "ops/qconv.h"
#include "ops/window.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 256 << 10;  // elements read by a chunk

class MaxPool : public Op {
 public:
  explicit MaxPool(const BindContext& ctx) : kernel_(pool_s8(ctx.isa)), window_(parse_window(ctx)) {
    if (ctx.outputs.size() > 1 && ctx.outputs[1].present)
      ctx.fail("the second output (Indices) is not supported; drop it, or run the node in Python");
    check_arity(ctx, 1, 1, 1, 2);
    check_same_dtype(ctx, 0, 0);
    switch (ctx.inputs[0].dtype) {
      case DType::u8:
        row_ = kernel_.max_u8;
        break;
      case DType::s8:
        row_ = kernel_.max_s8;
        break;
      case DType::f32:
        row_ = kernel_.max_f32;
        break;
      default:
        ctx.fail("the input must be float32, uint8 or int8, but is %s", name_of(ctx.inputs[0].dtype));
    }
  }

  void infer(InferContext& ctx) const override { infer_window(window_, ctx); }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Image x = image_of(ctx.in[0], window_.one_d), y = image_of(ctx.out[0], window_.one_d);
    const int64_t element = int64_t(size_of(ctx.in[0].dtype)), lines = y.n * y.h;
    const int64_t work = lines * y.w * y.c * std::min(window_.h.kernel, x.h) * std::min(window_.w.kernel, x.w);
    const int64_t chunks = std::min(lines, ctx.pool.chunks_for(work, kGrain));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t l = lines * c / chunks; l < lines * (c + 1) / chunks; l++) line(x, y, element, l / y.h, l % y.h);
    });
  }

  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return std::string("pool_s8 ") + kernel_.isa; }

 private:
  void line(const Image& x, const Image& y, int64_t element, int64_t n, int64_t oy) const {
    const WindowAxis::Taps rows = window_.h.taps(oy, x.h);
    PoolWindow p = {};
    p.row = window_.h.dilation * x.row_pitch;
    p.pixel = window_.w.dilation * x.pixel_pitch;
    p.step = window_.w.stride * x.pixel_pitch;
    p.channels = y.c, p.y_pixel = y.pixel_pitch;
    for (int64_t ox = 0; ox < y.w; ox += p.columns) {
      const WindowAxis::Taps cols = window_.w.taps(ox, x.w);
      p.rows = cols.count > 0 ? rows.count : 0, p.cols = cols.count;
      p.columns = 1;
      // Windows without clipping go together.
      if (cols.count == window_.w.kernel)
        while (ox + p.columns < y.w && window_.w.taps(ox + p.columns, x.w).count == window_.w.kernel) p.columns++;
      const int64_t from = n * x.image_pitch + rows.first * x.row_pitch + cols.first * x.pixel_pitch;
      p.x = p.rows > 0 ? x.data + from * element : x.data;
      p.y = y.data + (n * y.image_pitch + oy * y.row_pitch + ox * y.pixel_pitch) * element;
      row_(p);
    }
  }

  const PoolS8& kernel_;
  Window window_;
  void (*row_)(const PoolWindow&) = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_MaxPool(const BindContext& ctx) { return std::make_unique<MaxPool>(ctx); }

}  // namespace octavo
