// ConvTranspose over channels-last images, weights [O, kH, kW, C/group].
//   y[o] = act(fl(chain + bias)); chain: fma from 0 over the taps (ky, kx, c) whose input pixel
//   ((oy + top - ky * dilation) / stride, ...) is whole; taps outside the image are zeros.
// Outputs of one phase (oy mod stride, ox mod stride) see the same taps at a constant distance: each phase is a
// convolution of stride 1 with its own packed weights.
#include <cstring>

#include "ops/float_conv.h"

namespace octavo {
namespace {

class ConvTranspose : public Op {
 public:
  explicit ConvTranspose(const BindContext& ctx)
      : p_(parse_float_conv(ctx)),
        act_(parse_activation(ctx, "act", "act_")),
        gemm_(gemm_f32(ctx.isa)),
        eltwise_(eltwise_f32(ctx.isa)),
        acc64_(ctx.step.i("acc64", 0) != 0) {
    if (ctx.has(3)) ctx.fail("a residual input is not supported");
    const size_t d = p_.one_d ? 1 : 2;
    const std::vector<int64_t> extra = ctx.step.ints("output_padding", std::vector<int64_t>(d, 0));
    if (extra.size() != d) ctx.fail("attribute output_padding has %zu entries, expected %zu", extra.size(), d);
    for (int64_t e : extra)
      if (e < 0 || e > (int64_t(1) << 20)) ctx.fail("attribute output_padding holds %lld", (long long)e);
    extra_w_ = extra[d - 1], extra_h_ = p_.one_d ? 0 : extra[0];
    if (p_.stride_h * p_.stride_w > 1 << 16) ctx.fail("the strides are too large");
    phases(p_.kh, p_.stride_h, p_.dil_h, p_.top, rows_);
    phases(p_.kw, p_.stride_w, p_.dil_w, p_.left, cols_);
    pack();
  }

  void infer(InferContext& ctx) const override {
    check_float_conv(p_, ctx);
    const Shape& x = ctx.in[0].shape;
    Shape y = x;
    auto size = [&](int64_t n, int64_t stride, int64_t extent, int64_t extra, int64_t pads) {
      if (n > (int64_t(1) << 30)) ctx.fail("input size %lld is out of range", (long long)n);
      const int64_t r = (n - 1) * stride + extent + extra - pads;
      if (r < 0) ctx.fail("the pads are larger than the output");
      return r;
    };
    y[-2] = size(x[-2], p_.stride_w, p_.extent_w(), extra_w_, p_.left + p_.right);
    if (!p_.one_d) y[1] = size(x[1], p_.stride_h, p_.extent_h(), extra_h_, p_.top + p_.bottom);
    y[-1] = p_.O;
    Shape padded = x;
    padded[-2] += 2 * p_.extent_w() + extra_w_;
    if (!p_.one_d) padded[1] += 2 * p_.extent_h() + extra_h_;
    set_shape(ctx, 0, padded);  // refuses absurd sizes
    set_shape(ctx, 0, y);
  }

  size_t scratch_bytes(const View* in, const View* out, int) const override {
    if (acc64_) return 0;
    const Image x = image_of(in[0], p_.one_d), y = image_of(out[0], p_.one_d);
    const Padded q = padded(x, y);
    return align_up(size_t(p_.taps()) * 8) + size_t(q.h * q.w * x.c) * 4 + kSlack;
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Image x = image_of(ctx.in[0], p_.one_d), y = image_of(ctx.out[0], p_.one_d);
    const float* bias = ctx.inputs > 2 ? ctx.in[2].as<float>() : nullptr;
    if (acc64_) return run64(ctx.pool, x, y, bias);
    int64_t* segments = reinterpret_cast<int64_t*>(ctx.scratch);
    float* image = reinterpret_cast<float*>(ctx.scratch + align_up(size_t(p_.taps()) * 8));
    const Padded q = padded(x, y);
    for (int64_t n = 0; n < x.n; n++) {
      std::memset(image, 0, size_t(q.h * q.w * x.c) * 4);
      for (int64_t h = 0; h < x.h; h++)
        std::memcpy(image + ((h + q.top) * q.w + q.left) * x.c,
                    reinterpret_cast<const float*>(x.data) + n * x.image_pitch + h * x.row_pitch,
                    size_t(x.w * x.c) * 4);
      float* to = reinterpret_cast<float*>(y.data) + n * y.image_pitch;
      for (int64_t ry = 0; ry < p_.stride_h && ry < y.h; ry++)
        for (int64_t rx = 0; rx < p_.stride_w && rx < y.w; rx++)
          run_phase(ctx.pool, ry, rx, q, image + (q.top * q.w + q.left) * x.c, x.c, to, y, bias, segments);
    }
  }

  std::string kernel() const override {
    return acc64_ ? "float64 loop" : "gemm_f32 " + std::to_string(gemm_.lanes) + " lanes";
  }
  int64_t macs(const View* in, const View*) const override { return in[0].elements() * p_.taps() * p_.group_o(); }

 private:
  // Along one axis: the taps of each phase and the input position, relative to output / stride, each reads.
  struct Tap {
    int64_t k, at;
  };
  static void phases(int64_t kernel, int64_t stride, int64_t dilation, int64_t pad,
                     std::vector<std::vector<Tap>>& out) {
    out.resize(size_t(stride));
    for (int64_t r = 0; r < stride; r++)
      for (int64_t k = 0; k < kernel; k++) {
        const int64_t position = r + pad - k * dilation;
        if (position % stride == 0) out[size_t(r)].push_back({k, position / stride});
      }
  }

  struct Padded {
    int64_t top, left, h, w;
  };
  static void extend(const std::vector<std::vector<Tap>>& phases, int64_t size, int64_t outputs, int64_t stride,
                     int64_t& before, int64_t& total) {
    int64_t lowest = 0, highest = size - 1;
    for (size_t r = 0; r < phases.size() && int64_t(r) < outputs; r++)
      for (const Tap& t : phases[r]) {
        lowest = std::min(lowest, t.at);
        highest = std::max(highest, t.at + (outputs - 1 - int64_t(r)) / stride);
      }
    before = -lowest, total = highest - lowest + 1;
  }
  Padded padded(const Image& x, const Image& y) const {
    Padded q;
    extend(rows_, x.h, y.h, p_.stride_h, q.top, q.h);
    extend(cols_, x.w, y.w, p_.stride_w, q.left, q.w);
    return q;
  }

  void pack() {
    const int64_t No = p_.group_o(), C = p_.group_c;
    size_t floats = 0;
    for (const auto& r : rows_)
      for (const auto& c : cols_) {
        starts_.push_back(int64_t(floats));
        floats += size_t(gemm_f32_packed_floats(gemm_, int64_t(r.size() * c.size()) * C, No) * p_.group);
      }
    if (acc64_) return;
    packed_ = Buffer(floats * 4 + 4);
    std::vector<float> chosen;
    size_t phase = 0;
    for (const auto& r : rows_)
      for (const auto& c : cols_) {
        const int64_t K = int64_t(r.size() * c.size()) * C;
        for (int64_t g = 0; g < p_.group; g++) {
          chosen.clear();
          for (int64_t o = g * No; o < (g + 1) * No; o++)
            for (const Tap& a : r)
              for (const Tap& b : c) {
                const float* w = p_.w + ((o * p_.kh + a.k) * p_.kw + b.k) * C;
                chosen.insert(chosen.end(), w, w + C);
              }
          gemm_f32_pack(gemm_, chosen.data(), 1, K, K, No, 0, gemm_f32_panels(gemm_, No),
                        packed_.as<float>() + starts_[phase] + g * gemm_f32_packed_floats(gemm_, K, No));
        }
        phase++;
      }
  }

  // Outputs (ry + stride * i, rx + stride * j) of one image; `origin` is input pixel (0, 0) inside the padded copy.
  void run_phase(Region& pool, int64_t ry, int64_t rx, const Padded& q, const float* origin, int64_t channels,
                 float* to, const Image& y, const float* bias, int64_t* segments) const {
    const auto &r = rows_[size_t(ry)], &c = cols_[size_t(rx)];
    const int64_t row = q.w * channels, No = p_.group_o();
    int64_t count = 0;
    for (const Tap& a : r)
      for (const Tap& b : c) segments[count++] = a.at * row + b.at * channels;
    GemmF32Job job{&gemm_,     &eltwise_, nullptr, count * p_.group_c, No,       segments, count,
                   p_.group_c, nullptr,   act_.fn, act_.alpha,         act_.beta};
    const int64_t lines = (y.h - ry + p_.stride_h - 1) / p_.stride_h,
                  width = (y.w - rx + p_.stride_w - 1) / p_.stride_w;
    const int64_t chunks = std::min(lines, pool.chunks_for(lines * width * No * (job.K + 1), 1 << 20));
    const int64_t start = starts_[size_t(ry * p_.stride_w + rx)], floats = gemm_f32_packed_floats(gemm_, job.K, No);
    pool.parallel_for(chunks * p_.group, [&](int64_t chunk, int) {
      const int64_t g = chunk / chunks, part = chunk % chunks;
      GemmF32Job mine = job;
      mine.packed = packed_.as<float>() + start + g * floats;
      mine.bias = bias ? bias + g * No : nullptr;
      for (int64_t i = lines * part / chunks; i < lines * (part + 1) / chunks; i++)
        gemm_f32_rows(mine, origin + i * row + g * p_.group_c, channels, nullptr, 0,
                      to + (ry + i * p_.stride_h) * y.row_pitch + rx * y.pixel_pitch + g * No,
                      p_.stride_w * y.pixel_pitch, width, 0, gemm_f32_panels(gemm_, No));
    });
  }

  void run64(Region& pool, const Image& x, const Image& y, const float* bias) const {
    const int64_t lines = y.n * y.h, C = p_.group_c;
    const int64_t chunks = std::min(lines, pool.chunks_for(lines * y.w * p_.O * p_.taps() * C, 64 << 10));
    pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t l = lines * chunk / chunks; l < lines * (chunk + 1) / chunks; l++)
        for (int64_t ox = 0; ox < y.w; ox++)
          for (int64_t o = 0; o < p_.O; o++) {
            const int64_t n = l / y.h, oy = l % y.h;
            double sum = 0;
            for (const Tap& a : rows_[size_t(oy % p_.stride_h)])
              for (const Tap& b : cols_[size_t(ox % p_.stride_w)]) {
                const int64_t iy = a.at + oy / p_.stride_h, ix = b.at + ox / p_.stride_w;
                if (iy < 0 || iy >= x.h || ix < 0 || ix >= x.w) continue;
                const float* w = p_.w + ((o * p_.kh + a.k) * p_.kw + b.k) * C;
                const float* v = reinterpret_cast<const float*>(x.data) + n * x.image_pitch + iy * x.row_pitch +
                                 ix * x.pixel_pitch + o / p_.group_o() * C;
                for (int64_t c = 0; c < C; c++) sum += double(v[c]) * double(w[c]);
              }
            float* to = reinterpret_cast<float*>(y.data) + n * y.image_pitch + oy * y.row_pitch + ox * y.pixel_pitch;
            to[o] = finish_f32(sum, bias ? bias + o : nullptr, nullptr, act_);
          }
    });
  }

  FloatConv p_;
  Activation act_;
  const GemmF32& gemm_;
  const EltwiseF32& eltwise_;
  bool acc64_;
  int64_t extra_h_ = 0, extra_w_ = 0;
  std::vector<std::vector<Tap>> rows_, cols_;
  std::vector<int64_t> starts_;
  Buffer packed_;
};

}  // namespace

std::unique_ptr<Op> make_ConvTranspose(const BindContext& ctx) { return std::make_unique<ConvTranspose>(ctx); }

}  // namespace octavo
