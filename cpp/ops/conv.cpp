// Conv: float convolution over channels-last images, grouped, depthwise, dilated, 1-D.
//   y = act(fl(fl(chain + bias) + z)), chain: one fma chain from 0 over (ky, kx, c), padding taps included as zeros.
#include <cstring>
#include <limits>

#include "kernels/dwconv_f32/dwconv_f32.h"
#include "ops/float_conv.h"

namespace octavo {
namespace {

class Conv : public Op {
 public:
  explicit Conv(const BindContext& ctx)
      : p_(parse_float_conv(ctx, true)),
        act_(parse_activation(ctx, "act", "act_")),
        gemm_(gemm_f32(ctx.isa)),
        eltwise_(eltwise_f32(ctx.isa)),
        acc64_(ctx.step.i("acc64", 0) != 0) {
    if (ctx.has(3)) ctx.need(3, DType::f32);
    depthwise_ = !acc64_ && p_.group > 1 && p_.group_c == 1 && p_.O == p_.group && !ctx.has(3);
    if (acc64_ && p_.restored && !p_.restored->run_time()) ctx.fail("acc64 takes float32 weights only");
    if (acc64_) return;
    const int64_t K = p_.taps() * p_.group_c;
    if (depthwise_) dwconv_ = static_cast<const DwconvF32*>(find_kernel("dwconv_f32", ctx.isa));
    if (p_.restored) return;
    if (depthwise_) {
      const int64_t padded = pitch();
      packed_ = Buffer(size_t(p_.taps() * padded) * 4, true);
      for (int64_t o = 0; o < p_.O; o++)
        for (int64_t t = 0; t < p_.taps(); t++) packed_.as<float>()[t * padded + o] = p_.w[o * p_.taps() + t];
      return;
    }
    group_floats_ = gemm_f32_packed_floats(gemm_, K, p_.group_o());
    packed_ = Buffer(size_t(group_floats_ * p_.group) * 4);
    for (int64_t g = 0; g < p_.group; g++)
      gemm_f32_pack(gemm_, p_.w + g * p_.group_o() * K, 1, K, K, p_.group_o(), 0, gemm_f32_panels(gemm_, p_.group_o()),
                    packed_.as<float>() + g * group_floats_);
  }

  void infer(InferContext& ctx) const override {
    check_float_conv(p_, ctx);
    if (p_.restored && p_.restored->run_time() && ctx.in[1].shape != p_.restored->shape())
      ctx.fail("the weights do not have the shape that w_shape declares");
    Shape y = ctx.in[0].shape;
    auto size = [&](int64_t n, int64_t before, int64_t after, int64_t extent, int64_t stride) {
      if (n + before + after < extent)
        ctx.fail("the filter covers %lld pixels but the padded input has only %lld", (long long)extent,
                 (long long)(n + before + after));
      return (n + before + after - extent) / stride + 1;
    };
    y[-2] = size(y[-2], p_.left, p_.right, p_.extent_w(), p_.stride_w);
    if (!p_.one_d) y[1] = size(y[1], p_.top, p_.bottom, p_.extent_h(), p_.stride_h);
    y[-1] = p_.O;
    if (ctx.has(3) && ctx.in[3].shape != y) ctx.fail("the residual input must have the output's shape");
    Shape padded = ctx.in[0].shape;
    padded[-2] += p_.left + p_.right;
    if (!p_.one_d) padded[1] += p_.top + p_.bottom;
    set_shape(ctx, 0, padded);  // refuses absurd sizes
    set_shape(ctx, 0, y);
  }

  size_t scratch_bytes(const View* in, const View*, int threads) const override {
    const Image x = image_of(in[0], p_.one_d);
    return segment_bytes() + size_t(threads) * restored_bytes() + (copies(x) ? padded_bytes(x) : 0) + kSlack;
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    Image x = image_of(ctx.in[0], p_.one_d);
    const Image y = image_of(ctx.out[0], p_.one_d);
    Image z;
    if (ctx.inputs > 3 && ctx.in[3].data) z = image_of(ctx.in[3], p_.one_d);
    const float* bias = ctx.inputs > 2 ? ctx.in[2].as<float>() : nullptr;
    Restored given;  // over weights computed at run time
    const bool computed = p_.restored && p_.restored->run_time();
    if (computed) given = p_.restored->with(ctx.in[1]);
    const Scratch scratch{reinterpret_cast<int64_t*>(ctx.scratch), ctx.scratch + segment_bytes(),
                          computed ? &given : p_.restored.get(), computed ? ctx.in[1].as<float>() : p_.w};
    if (!copies(x)) {
      x.data -= 4 * (p_.top * x.row_pitch + p_.left * x.pixel_pitch);
      compute(ctx.pool, x, y, z, bias, scratch);
      return;
    }
    float* padded = reinterpret_cast<float*>(scratch.restored + size_t(ctx.pool.threads()) * restored_bytes());
    for (int64_t n = 0; n < x.n; n++) {
      Image one = pad(ctx.pool, x, n, padded), to = y, residual = z;
      to.n = 1, to.data += n * y.image_pitch * 4;
      if (z.data) residual.n = 1, residual.data += n * z.image_pitch * 4;
      compute(ctx.pool, one, to, residual, bias, scratch);
    }
  }

  bool in_place(int k) const override { return k == 3 && !acc64_; }
  bool strided_in(int k) const override { return k == 0 || k == 3; }
  bool strided_out() const override { return true; }
  Border border(int k) const override {
    if (k != 0) return {};
    return {int32_t(p_.top), int32_t(p_.left), int32_t(p_.bottom), int32_t(p_.right)};
  }
  std::string kernel() const override {
    if (acc64_) return "float64 loop";
    const std::string name = depthwise_ ? "dwconv_f32" : "gemm_f32 " + std::to_string(gemm_.lanes) + " lanes";
    return (p_.restored ? "restored " : "") + name;
  }
  int64_t macs(const View*, const View* out) const override { return out[0].elements() * p_.taps() * p_.group_c; }

 private:
  struct Scratch {
    int64_t* segments;
    uint8_t* restored;  // restored_bytes() a thread
    const Restored* w;  // weights to restore, or null
    const float* floats;
  };

  int64_t pitch() const { return (p_.O + 15) / 16 * 16; }
  size_t segment_bytes() const { return align_up(size_t(p_.taps()) * 8); }
  // What one thread restores at a time: a panel, or every weight of a depthwise convolution (few).
  size_t restored_bytes() const {
    if (!p_.restored || acc64_) return 0;
    const int64_t floats = depthwise_ ? p_.taps() * pitch() : restored_panel_floats(gemm_, p_.taps() * p_.group_c);
    return align_up(size_t(floats) * 4 + kSlack);
  }
  size_t padded_bytes(const Image& x) const {
    return size_t((x.h + p_.top + p_.bottom) * (x.w + p_.left + p_.right) * x.c) * 4;
  }
  // Whether the pads must be written into scratch.
  bool copies(const Image& x) const {
    return p_.pads() && !(x.border.top >= p_.top && x.border.left >= p_.left && x.border.bottom >= p_.bottom &&
                          x.border.right >= p_.right);
  }

  Image pad(Region& pool, const Image& x, int64_t n, float* to) const {
    Image r = x;
    r.n = 1, r.h = x.h + p_.top + p_.bottom, r.w = x.w + p_.left + p_.right;
    r.pixel_pitch = x.c, r.row_pitch = r.w * x.c, r.image_pitch = r.h * r.row_pitch;
    r.data = reinterpret_cast<uint8_t*>(to);
    const float* from = reinterpret_cast<const float*>(x.data) + n * x.image_pitch;
    const int64_t chunks = std::min(r.h, pool.chunks_for(r.h * r.row_pitch, 64 << 10));
    pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t h = r.h * chunk / chunks; h < r.h * (chunk + 1) / chunks; h++) {
        float* row = to + h * r.row_pitch;
        if (h < p_.top || h >= p_.top + x.h) {
          std::memset(row, 0, size_t(r.row_pitch) * 4);
          continue;
        }
        const float* line = from + (h - p_.top) * x.row_pitch;
        std::memset(row, 0, size_t(p_.left * x.c) * 4);
        row += p_.left * x.c;
        if (x.pixel_pitch == x.c) {
          std::memcpy(row, line, size_t(x.w * x.c) * 4);
        } else {
          for (int64_t w = 0; w < x.w; w++) std::memcpy(row + w * x.c, line + w * x.pixel_pitch, size_t(x.c) * 4);
        }
        std::memset(row + x.w * x.c, 0, size_t(p_.right * x.c) * 4);
      }
    });
    return r;
  }

  // x.data is at the first tap of output (0, 0); nothing it reaches lies outside memory.
  void compute(Region& pool, const Image& x, const Image& y, const Image& z, const float* bias,
               const Scratch& scratch) const {
    if (acc64_) return compute64(pool, x, y, z, bias, scratch.floats);
    if (depthwise_) return compute_depthwise(pool, x, y, bias, scratch);
    int64_t* segments = scratch.segments;
    GemmF32Job job{};
    job.kernel = &gemm_;
    job.eltwise = &eltwise_;
    job.K = p_.taps() * p_.group_c;
    job.N = p_.group_o();
    // Taps that lie side by side in memory make one segment.
    const bool joined = p_.dil_w == 1 && p_.group == 1 && x.pixel_pitch == x.c;
    job.segment_count = joined ? p_.kh : p_.taps();
    job.segment_length = joined ? p_.kw * x.c : p_.group_c;
    for (int64_t s = 0; s < job.segment_count; s++)
      segments[s] = joined ? s * p_.dil_h * x.row_pitch
                           : s / p_.kw * p_.dil_h * x.row_pitch + s % p_.kw * p_.dil_w * x.pixel_pitch;
    job.segments = segments;
    job.act = act_.fn, job.alpha = act_.alpha, job.beta = act_.beta;

    auto regular = [](const Image& i) {
      return (i.h == 1 || i.row_pitch == i.w * i.pixel_pitch) &&
             (i.n == 1 || i.image_pitch == i.h * i.w * i.pixel_pitch);
    };
    const bool flat = p_.taps() == 1 && p_.stride_h == 1 && p_.stride_w == 1 && !p_.pads() && regular(x) &&
                      regular(y) && (!z.data || regular(z));
    const int64_t lines = flat ? y.n * y.h * y.w : y.n * y.h;  // units of the row axis
    const int64_t panels = gemm_f32_panels(gemm_, job.N);
    const Grid grid = grid_of(pool, lines, panels, y.n * y.h * y.w * p_.O * job.K, flat ? gemm_.max_rows : 1);
    const float* xs = reinterpret_cast<const float*>(x.data);
    const float* zs = reinterpret_cast<const float*>(z.data);
    float* ys = reinterpret_cast<float*>(y.data);
    // A group of panels stays in cache while all rows of a chunk pass.
    const int64_t step = std::max<int64_t>(1, (384 << 10) / std::max<int64_t>(1, job.K * 2 * gemm_.lanes * 4));
    pool.parallel_for(grid.chunks() * p_.group, [&](int64_t chunk, int worker) {
      const int64_t g = chunk / grid.chunks(), cell = chunk % grid.chunks();
      const int64_t r0 = grid.row(cell % grid.row_chunks), r1 = grid.row(cell % grid.row_chunks + 1);
      const int64_t n0 = grid.panel(cell / grid.row_chunks), n1 = grid.panel(cell / grid.row_chunks + 1);
      GemmF32Job mine = job;
      mine.bias = bias ? bias + g * job.N : nullptr;
      // Panels [p0, p1) of a job whose first column is channel `channel` of y.
      const auto product = [&](const GemmF32Job& part, int64_t channel, int64_t p0, int64_t p1) {
        const float *xg = xs + g * p_.group_c, *zg = zs ? zs + channel : nullptr;
        float* yg = ys + channel;
        if (flat) {
          gemm_f32_rows(part, xg + r0 * x.pixel_pitch, x.pixel_pitch, zg ? zg + r0 * z.pixel_pitch : nullptr,
                        z.pixel_pitch, yg + r0 * y.pixel_pitch, y.pixel_pitch, r1 - r0, p0, p1);
          return;
        }
        for (int64_t l = r0; l < r1; l++) {
          const int64_t n = l / y.h, h = l % y.h;
          gemm_f32_rows(part, xg + n * x.image_pitch + h * p_.stride_h * x.row_pitch, p_.stride_w * x.pixel_pitch,
                        zg ? zg + n * z.image_pitch + h * z.row_pitch : nullptr, z.pixel_pitch,
                        yg + n * y.image_pitch + h * y.row_pitch, y.pixel_pitch, y.w, p0, p1);
        }
      };
      if (scratch.w) {
        float* panel = reinterpret_cast<float*>(scratch.restored + size_t(worker) * restored_bytes());
        for (int64_t q = n0; q < n1; q++)
          product(restore_panel(mine, *scratch.w, true, g * job.N, q, panel), g * job.N + q * 2 * gemm_.lanes, 0, 1);
        return;
      }
      mine.packed = packed_.as<float>() + g * group_floats_;
      for (int64_t q = n0; q < n1; q += step) product(mine, g * job.N, q, std::min(n1, q + step));
    });
  }

  // [taps][pitch()], zero past the last channel.
  const float* restore_depthwise(const Restored& w, float* to) const {
    float line[64];
    for (int64_t o = 0; o < pitch(); o++)
      for (int64_t t0 = 0; t0 < p_.taps(); t0 += 64) {
        const int64_t t1 = std::min(p_.taps(), t0 + 64);
        if (o < p_.O) w.row(o, t0, t1, line);
        for (int64_t t = t0; t < t1; t++) to[t * pitch() + o] = o < p_.O ? line[t - t0] : 0.0f;
      }
    return to;
  }

  void compute_depthwise(Region& pool, const Image& x, const Image& y, const float* bias,
                         const Scratch& scratch) const {
    DwconvF32Row t{};
    t.pixel = p_.dil_w * x.pixel_pitch, t.row = p_.dil_h * x.row_pitch, t.step = p_.stride_w * x.pixel_pitch;
    t.across = p_.dil_w == 1 ? p_.stride_w : 0;
    t.kh = int(p_.kh), t.kw = int(p_.kw);
    t.weights =
        scratch.w ? restore_depthwise(*scratch.w, reinterpret_cast<float*>(scratch.restored)) : packed_.as<float>(),
    t.weights_pitch = pitch();
    t.bias = bias;
    t.y_pixel = y.pixel_pitch, t.y_row = y.row_pitch, t.width = y.w, t.channels = y.c;
    t.clip = act_.fn == UnaryFn::Relu || act_.fn == UnaryFn::Clip;
    t.lo = act_.fn == UnaryFn::Relu ? 0.0f : act_.alpha;
    t.hi = act_.fn == UnaryFn::Relu ? std::numeric_limits<float>::infinity() : act_.beta;
    const bool after = act_.fn != UnaryFn::None && !t.clip;
    const bool pairs = p_.kh == p_.kw && (p_.kh == 3 || p_.kh == 5) && p_.dil_h == 1 && p_.dil_w == 1 &&
                       p_.stride_h == 1 && p_.stride_w == 1;
    const bool dense = y.pixel_pitch == y.c;
    const int64_t lines = y.n * y.h;
    const int64_t chunks = std::min(lines, pool.chunks_for(lines * y.w * y.c * p_.taps(), 512 << 10));
    pool.parallel_for(chunks, [&](int64_t chunk, int) {
      DwconvF32Row row = t;
      const int64_t end = lines * (chunk + 1) / chunks;
      for (int64_t l = lines * chunk / chunks, rows = 1; l < end; l += rows) {
        const int64_t n = l / y.h, h = l % y.h;
        row.x = reinterpret_cast<const float*>(x.data) + n * x.image_pitch + h * p_.stride_h * x.row_pitch;
        row.y = reinterpret_cast<float*>(y.data) + n * y.image_pitch + h * y.row_pitch;
        rows = pairs && h + 1 < y.h && l + 1 < end ? 2 : 1;
        (rows == 2 ? dwconv_->pair : dwconv_->row)(row);
        if (!after) continue;
        for (int64_t r = 0; r < rows; r++)
          for (int64_t w = 0; w < (dense ? 1 : y.w); w++) {
            float* to = row.y + r * y.row_pitch + w * y.pixel_pitch;
            unary_row_f32(eltwise_, int(act_.fn), to, to, dense ? y.w * y.c : y.c, act_.alpha, act_.beta);
          }
      }
    });
  }

  void compute64(Region& pool, const Image& x, const Image& y, const Image& z, const float* bias,
                 const float* weights) const {
    const int64_t pixels = y.n * y.h * y.w, K = p_.taps() * p_.group_c;
    const int64_t chunks = std::min(pixels, pool.chunks_for(pixels * p_.O * K, 64 << 10));
    pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t i = pixels * chunk / chunks; i < pixels * (chunk + 1) / chunks; i++) {
        const int64_t w = i % y.w, h = i / y.w % y.h, n = i / (y.w * y.h);
        const float* from = reinterpret_cast<const float*>(x.data) + n * x.image_pitch + h * p_.stride_h * x.row_pitch +
                            w * p_.stride_w * x.pixel_pitch;
        float* to = reinterpret_cast<float*>(y.data) + n * y.image_pitch + h * y.row_pitch + w * y.pixel_pitch;
        const float* residual =
            z.data ? reinterpret_cast<const float*>(z.data) + n * z.image_pitch + h * z.row_pitch + w * z.pixel_pitch
                   : nullptr;
        for (int64_t o = 0; o < p_.O; o++) {
          const float* weight = weights + o * K;
          const float* base = from + o / p_.group_o() * p_.group_c;
          double sum = 0;
          for (int64_t ky = 0; ky < p_.kh; ky++)
            for (int64_t kx = 0; kx < p_.kw; kx++, weight += p_.group_c) {
              const float* tap = base + ky * p_.dil_h * x.row_pitch + kx * p_.dil_w * x.pixel_pitch;
              for (int64_t c = 0; c < p_.group_c; c++) sum += double(tap[c]) * double(weight[c]);
            }
          to[o] = finish_f32(sum, bias ? bias + o : nullptr, residual ? residual + o : nullptr, act_);
        }
      }
    });
  }

  FloatConv p_;
  Activation act_;
  const GemmF32& gemm_;
  const EltwiseF32& eltwise_;
  const DwconvF32* dwconv_ = nullptr;
  bool acc64_, depthwise_ = false;
  int64_t group_floats_ = 0;
  Buffer packed_;
};

}  // namespace

std::unique_ptr<Op> make_Conv(const BindContext& ctx) { return std::make_unique<Conv>(ctx); }

}  // namespace octavo
