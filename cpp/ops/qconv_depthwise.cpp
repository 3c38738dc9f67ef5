// QConv whose groups have one channel each: the depthwise kernels (formula in qconv.h, kernels in dwconv_s8.h).
// Padding is the planner's border, or a padded copy of a few images at a time in scratch.
#include <algorithm>

#include "kernels/dwconv_s8/driver.h"
#include "ops/qconv.h"
#include "ops/quantized_attrs.h"

namespace octavo {
namespace {

constexpr int64_t kPadBlock = 8 << 20;  // padded images are made at most this many bytes at a time (but at least one)

DwconvS8Weights depthwise_weights(const QConvParams& p) {
  DwconvS8Weights w;
  w.dtype = p.weights.w->dtype;
  w.w = p.weights.w->data;
  w.channels = p.outputs;
  w.kh = p.kh, w.kw = p.kw;
  w.stride_h = p.stride_h, w.stride_w = p.stride_w;
  w.dil_h = p.dil_h, w.dil_w = p.dil_w;
  w.bias = p.weights.bias;
  w.m = p.weights.m;
  w.multiplier = p.weights.multiplier, w.shift = p.weights.shift;
  w.m_stride = p.weights.m_per_channel ? 1 : 0;
  w.out_f32 = p.epilogue.out_f32;
  return w;
}

class QConvDepthwise : public Op {
 public:
  QConvDepthwise(const BindContext& ctx, const QConvParams& p) : p_(p), packed_(ctx.isa, depthwise_weights(p)) {}

  void infer(InferContext& ctx) const override { infer_qconv(p_, ctx); }

  size_t scratch_bytes(const View* in, const View*, int) const override {
    const size_t offsets = align_up(packed_.taps().size() * sizeof(int64_t));
    if (!copies(in[0])) return offsets;
    const Image x = image_of(in[0], p_.one_d), padded = padded_shape(p_, x);
    return offsets + size_t(std::min(x.n, images_at_once(padded)) * padded.image_pitch) + 64;
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    Image x = image_of(ctx.in[0], p_.one_d);
    if (!copies(ctx.in[0])) {
      x.data -= p_.top * x.row_pitch + p_.left * x.pixel_pitch;
      convolve(ctx, x, 0, x.n);
      return;
    }
    Image padded = padded_shape(p_, x);
    uint8_t* copy = ctx.scratch + align_up(packed_.taps().size() * sizeof(int64_t));
    const int64_t step = images_at_once(padded);
    for (int64_t n = 0; n < x.n; n += step) {
      const int64_t last = std::min(x.n, n + step);
      pad_images(ctx.pool, p_, x, n, last, padded, copy);
      padded.data = copy;
      convolve(ctx, padded, n, last);
    }
  }

  bool strided_in(int k) const override { return k == 0 || k == 4; }
  bool strided_out() const override { return true; }
  Border border(int k) const override { return k == 0 ? wanted_border(p_) : Border{}; }
  uint8_t border_fill() const override { return uint8_t(p_.epilogue.x_zp); }
  std::string kernel() const override { return packed_.name(); }
  int64_t macs(const View*, const View* out) const override { return qconv_macs(p_, out[0]); }

 private:
  bool copies(const View& x) const { return p_.pads() && !border_covers(p_, image_of(x, p_.one_d).border); }
  int64_t images_at_once(const Image& padded) const {
    return std::max<int64_t>(1, kPadBlock / std::max<int64_t>(1, padded.image_pitch));
  }

  // Images [first, last); x.data is the first pixel of image `first` with its padding.
  void convolve(RunContext& ctx, const Image& x, int64_t first, int64_t last) const {
    const QEpilogue& e = p_.epilogue;
    const Image y = image_of(ctx.out[0], p_.one_d);
    DwconvS8Job job;
    job.b = &packed_;
    job.x = x.data;
    job.x_image = x.image_pitch, job.x_row = x.row_pitch, job.x_pixel = x.pixel_pitch;
    job.y = y.data + first * y.image_pitch * (e.out_f32 ? 4 : 1);
    job.y_image = y.image_pitch, job.y_row = y.row_pitch, job.y_pixel = y.pixel_pitch;
    job.images = last - first, job.height = y.h, job.width = y.w;
    job.zp = e.y_zp, job.lo = e.lo, job.hi = e.hi;
    if (e.has_z) {
      const Image z = image_of(ctx.in[4], p_.one_d);
      job.z = z.data + first * z.image_pitch;
      job.z_image = z.image_pitch, job.z_row = z.row_pitch, job.z_pixel = z.pixel_pitch;
      job.add_fixed = e.add_fixed;
      job.add = kernel_params(e.add);
    }
    job.table = e.table;
    job.offsets = reinterpret_cast<int64_t*>(ctx.scratch);
    dwconv_s8(ctx.pool, job);
  }

  QConvParams p_;
  DwconvS8Packed packed_;
};

}  // namespace

std::unique_ptr<Op> make_qconv_depthwise(const BindContext& ctx) {
  return std::make_unique<QConvDepthwise>(ctx, parse_qconv(ctx));
}

}  // namespace octavo
