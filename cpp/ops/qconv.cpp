// QConv over channels-last images: direct convolution on the u8 x s8 kernels, group by group; the formula is in
// qconv.h.
//
// A kernel row is kW * C contiguous bytes of the image, so it is one segment of the kernel's K loop; where pixels are
// not contiguous (dilation, groups, pitches) a segment is one tap. Nothing is gathered, and padding is written around
// the image (by the planner's border, or here into scratch), so there are no edge cases.
#include <algorithm>

#include "kernels/gemm_s8/stem_driver.h"
#include "ops/copy.h"
#include "ops/qgemm.h"

namespace octavo {
namespace {

constexpr int64_t kPadBlock = 8 << 20;  // padded images are made at most this many bytes at a time (but at least one)

class QConv : public Op {
 public:
  QConv(const BindContext& ctx, const QConvParams& params) : p_(params) {
    // Channels that are no multiple of four would waste products in every tap, but only once in a kernel row.
    whole_rows_ = p_.group == 1 && p_.dil_w == 1 && p_.kw > 1 && p_.group_c % 4 != 0;
    segments_ = whole_rows_ ? p_.kh : p_.kh * p_.kw;
    length_ = whole_rows_ ? p_.kw * p_.group_c : p_.group_c;
    const GemmS8* kernel = p_.weights.multiplier ? find_gemm_s8_fixed(ctx.isa) : find_gemm_s8(ctx.isa);
    const int64_t count = p_.outputs / p_.group;
    packed_.reserve(size_t(p_.group));
    const int64_t inner = whole_rows_ ? 1 : p_.kw;
    for (int64_t g = 0; g < p_.group; g++)
      packed_.emplace_back(kernel,
                           gemm_weights(p_.weights, g * count, count, segments_, length_, inner, p_.epilogue.out_f32));
    if (whole_rows_ && !p_.epilogue.has_z && !p_.epilogue.table && !p_.epilogue.out_s32)
      stem_ = StemPacked(packed_[0], gemm_weights(p_.weights, 0, count, segments_, length_, 1, p_.epilogue.out_f32),
                         p_.stride_w * p_.group_c);
    if (!stem_.serves(kStemPixels)) stem_ = {};  // nor lines of another length
    if (p_.epilogue.table) lut_ = &lut_s8(ctx.isa);
    if (p_.epilogue.has_z && p_.weights.multiplier)
      fixed_ = &eltwise_fixed(ctx.isa);
    else if (p_.epilogue.has_z)
      adder_ = &eltwise_s8(ctx.isa);
  }

  void infer(InferContext& ctx) const override { infer_qconv(p_, ctx); }

  size_t scratch_bytes(const View* in, const View*, int) const override {
    if (!copies(in[0])) return 0;
    const Image x = image_of(in[0], p_.one_d), padded = padded_shape(p_, x);
    return size_t(std::min(x.n, images_at_once(padded)) * padded.image_pitch) + 64;
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
    const int64_t step = images_at_once(padded);
    for (int64_t n = 0; n < x.n; n += step) {
      const int64_t last = std::min(x.n, n + step);
      pad_images(ctx.pool, p_, x, n, last, padded, ctx.scratch);
      padded.data = ctx.scratch;
      convolve(ctx, padded, n, last);
    }
  }

  bool strided_in(int k) const override { return k == 0 || k == 4; }
  bool strided_out() const override { return true; }
  Border border(int k) const override { return k == 0 ? wanted_border(p_) : Border{}; }
  uint8_t border_fill() const override { return uint8_t(p_.epilogue.x_zp); }
  std::string kernel() const override { return stem_.empty() ? packed_[0].name() : stem_.name(); }
  int64_t macs(const View*, const View* out) const override { return qconv_macs(p_, out[0]); }

 private:
  bool copies(const View& x) const {
    return (p_.pads() && !border_covers(p_, image_of(x, p_.one_d).border)) || overreads(x, length_) ||
           (whole_rows_ && x.pixel_pitch != p_.group_c);
  }
  static int64_t images_at_once(const Image& padded) {
    return std::max<int64_t>(1, kPadBlock / std::max<int64_t>(1, padded.image_pitch));
  }

  // Images [first, last) of the output; x.data is the first pixel (padding included) of image `first`.
  void convolve(RunContext& ctx, const Image& x, int64_t first, int64_t last) const {
    const View& out = ctx.out[0];
    const Image y = image_of(out, p_.one_d);
    GemmS8Job job;
    job.in = {(last - first) * y.h, y.h, y.w, p_.stride_w * x.pixel_pitch, p_.stride_h * x.row_pitch, x.image_pitch};
    job.out.row = y.pixel_pitch, job.out.line = y.row_pitch, job.out.image = y.image_pitch;
    const int64_t tap = p_.dil_w * x.pixel_pitch, row = p_.dil_h * x.row_pitch;
    job.outer = int32_t(p_.kh), job.segment_outer = row;
    if (!whole_rows_) {
      job.inner = int32_t(p_.kw), job.segment_inner = tap;
      // Contiguous taps of whole groups of four are one segment, whatever the packing called them.
      if (p_.group_c % 4 == 0 && tap == p_.group_c && p_.kw * p_.group_c / 4 <= INT32_MAX)
        job.inner = 1, job.groups = int32_t(p_.kw * p_.group_c / 4);
    }
    const View* z = p_.epilogue.has_z ? &ctx.in[4] : nullptr;
    const Image residual = z ? image_of(*z, p_.one_d) : Image{};
    job.z.row = residual.pixel_pitch, job.z.line = residual.row_pitch, job.z.image = residual.image_pitch;
    const int64_t count = p_.outputs / p_.group, element = p_.epilogue.out_f32 || p_.epilogue.out_s32 ? 4 : 1;
    for (int64_t g = 0; g < p_.group; g++) {
      job.b = &packed_[size_t(g)];
      job.a = x.data + g * p_.group_c;
      job.c = y.data + (first * y.image_pitch + g * count) * element;
      job.epilogue = gemm_epilogue(p_.epilogue, z, lut_, adder_, fixed_);
      if (z) job.epilogue.z += first * residual.image_pitch + g * count;
      if (stem_.serves(job.in.rows))
        stem_.run(ctx.pool, job);
      else
        gemm_s8(ctx.pool, job);
    }
  }

  QConvParams p_;
  bool whole_rows_ = false;
  int64_t segments_ = 1, length_ = 1;
  std::vector<GemmS8Packed> packed_;
  StemPacked stem_;
  const LutS8* lut_ = nullptr;
  const EltwiseS8* adder_ = nullptr;
  const EltwiseFixed* fixed_ = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_QConv(const BindContext& ctx) {
  const QConvParams p = parse_qconv(ctx);
  if (p.depthwise() && p.epilogue.once) ctx.fail("attribute once is not for depthwise convolutions");
  if (p.depthwise() && !p.epilogue.out_s32) return make_qconv_depthwise(ctx);
  return std::make_unique<QConv>(ctx, p);
}

}  // namespace octavo
