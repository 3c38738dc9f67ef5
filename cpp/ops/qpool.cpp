// QReduceMean:
//   S = sum of (x - x_zp), n = how many;  y = clamp(rne(fl(fl32(S) * fl(x_scale / fl(y_scale * fl(n))))) + y_zp, lo,
//   hi)
// The sum is exact in int32.
// QAveragePool: Dequantize, AveragePool and Quantize in float32, rounding for rounding; kernels/pool_s8/pool_s8.h has
// the formula. Nothing to average gives clamp(y_zp) in both.
// The fixed scheme (`fixed` or `origin` in place of the scales): kernels/pool_fixed/pool_fixed.h.
#include "kernels/pool_s8/pool_s8.h"

#include "core/arith.h"
#include "core/fixed.h"
#include "kernels/pool_fixed/pool_fixed.h"
#include "ops/copy.h"
#include "ops/qconv.h"
#include "ops/quantized_attrs.h"
#include "ops/window.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 128 << 10;     // bytes read by a chunk
constexpr int64_t kMostPixels = 1 << 23;  // 255 times as many still fit an int32, and a float32 counts them exactly

class QAveragePool : public Op {
 public:
  explicit QAveragePool(const BindContext& ctx) : kernel_(pool_s8(ctx.isa)), window_(parse_window(ctx)) {
    check_arity(ctx, 1, 1);
    ctx.need(0, DType::u8);
    check_dtype(ctx, 0, DType::u8);
    include_pad_ = ctx.step.i("count_include_pad", 0) != 0;
    if (window_.h.kernel * window_.w.kernel > kMostPixels)
      ctx.fail("a window of %lld x %lld pixels is too large", (long long)window_.h.kernel, (long long)window_.w.kernel);
    const OutputRange range = output_range(ctx, "y_zp");
    const int32_t before = zp_before(ctx);
    average_.x_zp = byte_attribute(ctx, "x_zp", 0);
    average_.lo = range.lo, average_.hi = range.hi;
    if (ctx.step.has("origin")) {
      fixed_ = &pool_fixed(ctx.isa);
      origin_ = byte_attribute(ctx, "origin", 0), y_zp_ = range.zp;
      if (window_.h.kernel * window_.w.kernel > kMostPixels)
        ctx.fail("a window of %lld x %lld pixels is too large to sum in int32", (long long)window_.h.kernel,
                 (long long)window_.w.kernel);
      return;
    }
    average_.x_scale = finite_attribute(ctx, "x_scale"), average_.y_scale = positive_attribute(ctx, "y_scale");
    average_.before = float(before), average_.after = range.zp - before;
  }

  void infer(InferContext& ctx) const override { infer_window(window_, ctx); }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Image x = image_of(ctx.in[0], window_.one_d), y = image_of(ctx.out[0], window_.one_d);
    const int64_t lines = y.n * y.h, work = lines * y.w * y.c * window_.h.kernel * window_.w.kernel;
    const int64_t chunks = std::min(lines, ctx.pool.chunks_for(work, kGrain));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t l = lines * c / chunks; l < lines * (c + 1) / chunks; l++) line(x, y, l / y.h, l % y.h);
    });
  }

  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }
  std::string kernel() const override {
    return fixed_ ? std::string("pool_fixed ") + fixed_->isa : std::string("pool_s8 ") + kernel_.isa;
  }

 private:
  static int64_t padded_count(const WindowAxis& a, int64_t o, int64_t size) {
    return a.taps(o, size, a.begin, a.end).count;
  }

  void line(const Image& x, const Image& y, int64_t n, int64_t oy) const {
    const WindowAxis &h = window_.h, &w = window_.w;
    const WindowAxis::Taps rows = h.taps(oy, x.h);
    PoolWindow p = {};
    p.row = h.dilation * x.row_pitch, p.pixel = w.dilation * x.pixel_pitch, p.step = w.stride * x.pixel_pitch;
    p.channels = y.c, p.y_pixel = y.pixel_pitch;
    for (int64_t ox = 0; ox < y.w; ox += p.columns) {
      const WindowAxis::Taps cols = w.taps(ox, x.w);
      p.rows = cols.count > 0 ? rows.count : 0, p.cols = cols.count;
      p.columns = 1;
      if (cols.count == w.kernel)
        while (ox + p.columns < y.w && w.taps(ox + p.columns, x.w).count == w.kernel) p.columns++;
      const int64_t real = p.rows * p.cols;
      const int64_t count = include_pad_ ? padded_count(h, oy, x.h) * padded_count(w, ox, x.w) : real;
      if (real > 0) p.x = x.data + n * x.image_pitch + rows.first * x.row_pitch + cols.first * x.pixel_pitch;
      p.y = y.data + n * y.image_pitch + oy * y.row_pitch + ox * y.pixel_pitch;
      if (fixed_)
        fixed_average(p, count);
      else
        float_average(p, count);
    }
  }

  __attribute__((noinline)) void float_average(const PoolWindow& p, int64_t count) const {
    PoolAverage average = average_;
    average.count = count > 0 ? float(count) : 1.0f;
    kernel_.average_u8(p, average);
  }

  // The mean of x - origin, the file's own integers, where padding counts as x_zp.
  void fixed_average(const PoolWindow& p, int64_t count) const {
    PoolFixedMean mean = {0, 1, 0, 0, y_zp_, average_.lo, average_.hi};
    if (count > 0) {
      mean.add = int32_t(count * (average_.x_zp - origin_) - p.rows * p.cols * average_.x_zp);
      mean.divisor = int32_t(count), mean.zp = origin_;
    }
    fixed_->mean_u8(p, mean);
  }

  const PoolS8& kernel_;
  Window window_;
  PoolAverage average_ = {};
  bool include_pad_;
  const PoolFixed* fixed_ = nullptr;  // the fixed scheme
  int32_t origin_ = 0, y_zp_ = 0;
};

// What a mean over axes does with its elements, in the float scheme ...
class FloatMean {
 public:
  explicit FloatMean(const BindContext& ctx)
      : kernel_(pool_s8(ctx.isa)),
        x_zp_(byte_attribute(ctx, "x_zp", 0)),
        x_scale_(finite_attribute(ctx, "x_scale")),
        y_scale_(positive_attribute(ctx, "y_scale")),
        range_(output_range(ctx, "y_zp")) {}
  using Of = PoolMean;
  PoolMean of(int64_t count) const {
    const float scale = count > 0 ? x_scale_ / (y_scale_ * float(count)) : 0.0f;
    return {int32_t(count) * x_zp_, scale, range_.zp, range_.lo, range_.hi};
  }
  static int32_t value(int32_t sum, const PoolMean& m) {
    return requantize(int32_t(uint32_t(sum) - uint32_t(m.sub)), m.scale, m.zp, m.lo, m.hi);
  }
  const PoolS8& kernel() const { return kernel_; }
  std::string name() const { return std::string("pool_s8 ") + kernel_.isa; }

 private:
  const PoolS8& kernel_;
  int32_t x_zp_;
  float x_scale_, y_scale_;
  OutputRange range_;
};

// ... and in the fixed one. The multiplier over n gains as many bits as n has, then loses them by the division.
class FixedMean {
 public:
  explicit FixedMean(const BindContext& ctx)
      : kernel_(pool_fixed(ctx.isa)),
        x_zp_(byte_attribute(ctx, "x_zp", 0)),
        scale_(fixed_attribute(ctx, "fixed")),
        range_(output_range(ctx, "y_zp")) {
    if (scale_.multiplier < 0) ctx.fail("attribute fixed has a negative multiplier");
  }
  using Of = PoolFixedMean;
  PoolFixedMean of(int64_t count) const {
    const int64_t n = std::max<int64_t>(1, count);
    const int bits = std::min(63 - __builtin_clzll(uint64_t(n)), 31 + scale_.shift);
    const int64_t multiplier = (int64_t(scale_.multiplier) << bits) / n;
    return {-int32_t(count) * x_zp_, 0, int32_t(multiplier), scale_.shift - bits, range_.zp, range_.lo, range_.hi};
  }
  static int32_t value(int32_t sum, const PoolFixedMean& m) {
    const int32_t acc = int32_t(uint32_t(sum) + uint32_t(m.add));
    return clamp_byte(int64_t(scaled_twice(acc, {m.multiplier, m.shift})) + m.zp, m.lo, m.hi);
  }
  const PoolFixed& kernel() const { return kernel_; }
  std::string name() const { return std::string("pool_fixed ") + kernel_.isa; }

 private:
  const PoolFixed& kernel_;
  int32_t x_zp_;
  FixedScale scale_;
  OutputRange range_;
};

template <class Mean>
class QReduceMean : public Op {
 public:
  explicit QReduceMean(const BindContext& ctx) : mean_(ctx) {
    check_arity(ctx, 1, 1);
    ctx.need(0, DType::u8);
    check_dtype(ctx, 0, DType::u8);
    if (ctx.inputs[0].rank < 0) ctx.fail("the input's rank must be known");
    reduced_ = axis_set(ctx.step.ints("axes"), ctx.inputs[0].rank, ctx.step);
    keep_ = ctx.step.i("keepdims", 1) != 0;
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    Shape y;
    int64_t count = 1;
    for (int i = 0; i < x.rank; i++) {
      if (!reduced_[size_t(i)]) y.dim[y.rank++] = x[i];
      if (reduced_[size_t(i)] && keep_) y.dim[y.rank++] = 1;
      if (reduced_[size_t(i)] && __builtin_mul_overflow(count, x[i], &count)) count = INT64_MAX;
      if (count > kMostPixels) ctx.fail("the mean of more than %lld elements is not supported", (long long)kMostPixels);
    }
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View& x = ctx.in[0];
    const int64_t n = ctx.out[0].elements();
    if (n == 0) return;
    // Kept and reduced axes with their strides, neighbours of one kind joined.
    Axes kept, gone;
    for (int i = x.shape.rank - 1, last = -1; i >= 0; i--) {
      if (x.shape[i] == 1) continue;
      const int64_t stride = x.shape.span(i + 1, x.shape.rank);
      Axes& a = reduced_[size_t(i)] ? gone : kept;
      if (last == int(reduced_[size_t(i)]))
        a.dim[a.rank - 1] *= x.shape[i];
      else
        a.dim[a.rank] = x.shape[i], a.stride[a.rank++] = stride;
      last = int(reduced_[size_t(i)]);
    }
    const int64_t count = gone.size();
    const typename Mean::Of mean = mean_.of(count);
    uint8_t* y = ctx.out[0].as<uint8_t>();
    const uint8_t* from = x.as<uint8_t>();
    // Channels: the innermost kept axis, when it is the fastest one.
    const int64_t channels = kept.rank > 0 && kept.stride[0] == 1 ? kept.dim[0] : 1;
    const int skip = channels > 1 ? 1 : 0;
    const int64_t outer = n / channels;
    const int64_t blocks = (channels + 255) / 256, units = outer * blocks;
    const int64_t chunks = std::min(units, ctx.pool.chunks_for(n * count, kGrain));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t u = units * c / chunks; u < units * (c + 1) / chunks; u++) {
        const int64_t o = u / blocks, first = u % blocks * 256;
        const int64_t base = kept.offset(o, skip) + first;
        reduce(from + base, y + o * channels + first, std::min<int64_t>(256, channels - first), gone, mean);
      }
    });
  }

  std::string kernel() const override { return mean_.name(); }

 private:
  struct Axes {  // fastest first
    int rank = 0;
    int64_t dim[kMaxRank] = {}, stride[kMaxRank] = {};
    int64_t size() const {
      int64_t n = 1;
      for (int i = 0; i < rank; i++) n *= dim[i];
      return n;
    }
    int64_t offset(int64_t index, int from) const {
      int64_t at = 0;
      for (int i = from; i < rank; i++) at += index % dim[i] * stride[i], index /= dim[i];
      return at;
    }
  };

  void reduce(const uint8_t* x, uint8_t* y, int64_t channels, const Axes& gone, const typename Mean::Of& mean) const {
    if (gone.rank <= 2 && !(channels == 1 && gone.rank > 0 && gone.stride[0] == 1)) {  // a window of rows and columns
      PoolWindow p = {};
      p.x = x, p.y = y, p.channels = channels, p.columns = 1;
      p.cols = gone.rank > 0 ? gone.dim[0] : 1, p.pixel = gone.stride[0];
      p.rows = gone.rank > 1 ? gone.dim[1] : 1, p.row = gone.stride[1];
      if (p.cols == 0) p.rows = 0;
      mean_.kernel().mean_u8(p, mean);
      return;
    }
    const bool contiguous = gone.stride[0] == 1;
    const int64_t run = contiguous ? gone.dim[0] : 1, count = gone.size();
    for (int64_t c = 0; c < channels; c++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < count; i += run) {
        const uint8_t* p = x + c + gone.offset(i, 0);
        sum += contiguous ? mean_.kernel().sum_u8(p, run) : *p;
      }
      y[c] = uint8_t(Mean::value(sum, mean));
    }
  }

  Mean mean_;
  std::vector<bool> reduced_;
  bool keep_;
};

}  // namespace

std::unique_ptr<Op> make_QAveragePool(const BindContext& ctx) { return std::make_unique<QAveragePool>(ctx); }
std::unique_ptr<Op> make_QReduceMean(const BindContext& ctx) {
  if (ctx.step.has("fixed")) return std::make_unique<QReduceMean<FixedMean>>(ctx);
  return std::make_unique<QReduceMean<FloatMean>>(ctx);
}

}  // namespace octavo
