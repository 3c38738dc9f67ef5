// Quantize and Dequantize: parameters known when the plan is made.
//   y = clamp(rne(fl(x / s)) + y_zp, lo, hi), transposed by `perm` where given;   y = fl(fl32(x - zp) * s)
#include "kernels/quantize/quantize.h"

#include <atomic>
#include <cmath>

#include "ops/copy.h"
#include "ops/quantized_attrs.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 48 << 10;  // elements of a chunk: some 10 us

// x as [outer, C, inner] around the axis of the scales; one scale: [1, 1, all].
struct Axis {
  int64_t outer = 1, c = 1, inner = 1;
  Axis(const Shape& x, bool per_axis, int axis) {
    inner = per_axis ? x.span(axis + 1, x.rank) : x.elements();
    if (per_axis) outer = x.span(0, axis), c = x[axis];
  }
};

class Quantize : public Op {
 public:
  explicit Quantize(const BindContext& ctx) : kernel_(quantize_f32(ctx.isa)) {
    check_arity(ctx, 1, 2);
    ctx.need(0, DType::f32);
    check_dtype(ctx, 0, DType::u8);
    const OutputRange r = output_range(ctx, "y_zp");
    p_ = {1.0f, r.zp, r.lo, r.hi};
    const int rank = ctx.inputs[0].rank;
    if (ctx.has(1)) {
      const View& s = ctx.constant(1, DType::f32);
      scales_ = s.as<float>();
      scale_count_ = s.elements();
      axis_ = normal_axis(ctx.step.i("axis", 1), rank, ctx.step);
    } else {
      p_.scale = float(ctx.step.f("y_scale"));
      scale_count_ = 1;
    }
    for (int64_t i = 0; i < scale_count_; i++)
      if (const float s = scales_ ? scales_[i] : p_.scale; !(std::isfinite(s) && s > 0))
        ctx.fail("the scale %g is not a positive finite float32", double(s));
    graph_input_ = ctx.step.i("graph_input", 0) != 0;
    source_ = ctx.step.s("source", ctx.step.name);
    name_ = ctx.step.name;
    if (ctx.step.has("perm")) {
      const std::vector<int64_t> perm = ctx.step.ints("perm");
      if (int(perm.size()) != rank) ctx.fail("perm has %zu entries, the input has rank %d", perm.size(), rank);
      for (int64_t a : perm) perm_.push_back(normal_axis(a, rank, ctx.step));
      axis_set(perm, rank, ctx.step);  // fails where an axis comes twice
      interleaves_ = !scales_ && perm_ == std::vector<int>{0, 2, 3, 1};
    }
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    if (scales_ && x[axis_] != scale_count_)
      ctx.fail("there are %lld scales, but axis %d has %lld elements", (long long)scale_count_, axis_,
               (long long)x[axis_]);
    Shape y = x;
    for (size_t i = 0; i < perm_.size(); i++) y[int(i)] = x[perm_[i]];
    set_shape(ctx, 0, y);
  }

  size_t scratch_bytes(const View* in, const View* out, int) const override {
    return direct(in[0], out[0]) || three_planes(in[0], out[0]) ? 0 : size_t(in[0].elements()) + kSlack_;
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    if (y.elements() == 0) return;
    bool nan;
    if (three_planes(x, y)) {
      nan = run_planes(ctx.pool, x, y);
    } else if (direct(x, y)) {
      nan = run_dense(ctx.pool, x, y.as<uint8_t>());
    } else {
      nan = run_dense(ctx.pool, x, ctx.scratch);
      const Strides from = dense_strides(x.shape, 1), to = strides_of(y);
      CopyAxes axes;
      for (int i = 0; i < y.shape.rank; i++)
        axes.add(y.shape[i], from.of[perm_.empty() ? i : perm_[size_t(i)]], to.of[i]);
      copy_nd(ctx.pool, axes, 1, ctx.scratch, y.data);
    }
    if (nan && graph_input_)
      fail(ErrorKind::invalid_argument,
           "Quantize node '%s': the input '%s' contains NaN, which has no quantized value; feed finite numbers",
           name_.c_str(), source_.c_str());
  }

  bool strided_out() const override { return true; }
  std::string kernel() const override { return std::string("quantize ") + kernel_.isa; }

 private:
  static constexpr size_t kSlack_ = 256;

  bool direct(const View& x, const View& y) const { return (perm_.empty() || x.shape.rank < 2) && y.dense(); }
  bool three_planes(const View& x, const View& y) const {
    return interleaves_ && x.shape[1] == 3 && y.pixel_pitch == 3;
  }

  bool run_planes(Region& pool, const View& x, const View& y) const {
    const int64_t rows = y.shape[1], cols = y.shape[2], plane = rows * cols, lines = y.shape[0] * rows;
    const int64_t chunks = std::min(lines, pool.chunks_for(lines * cols * 3, kGrain));
    // Rows without a gap between them are one long row.
    std::atomic<bool> nan{false};
    pool.parallel_for(chunks, [&](int64_t c, int) {
      bool seen = false;
      for (int64_t l = lines * c / chunks, end = lines * (c + 1) / chunks; l < end;) {
        const int64_t n = l / rows, h = l % rows;
        const int64_t count = y.row_pitch == 3 * cols ? std::min(end - l, rows - h) : 1;
        uint8_t* to = y.as<uint8_t>() + n * y.image_pitch + h * y.row_pitch;
        seen |= kernel_.planes3(to, x.as<float>() + n * 3 * plane + h * cols, plane, count * cols, p_);
        l += count;
      }
      if (seen) nan.store(true, std::memory_order_relaxed);
    });
    return nan.load();
  }

  bool run_dense(Region& pool, const View& x, uint8_t* y) const {
    std::atomic<bool> nan{false};
    const float* from = x.as<float>();
    const Axis axis(x.shape, scales_ != nullptr, axis_);
    const int64_t lines = axis.outer * axis.c;
    if (lines == 1 || !scales_) {
      QuantizeParams p = p_;
      if (scales_) p.scale = scales_[0];
      const int64_t n = x.elements(), chunks = pool.chunks_for(n, kGrain);
      pool.parallel_for(chunks, [&](int64_t c, int) {
        const int64_t first = n * c / chunks;
        if (kernel_.to_u8(y + first, from + first, n * (c + 1) / chunks - first, p))
          nan.store(true, std::memory_order_relaxed);
      });
      return nan.load();
    }
    const int64_t chunks = std::min(lines, pool.chunks_for(x.elements(), kGrain));
    pool.parallel_for(chunks, [&](int64_t c, int) {
      bool seen = false;
      QuantizeParams p = p_;
      for (int64_t l = lines * c / chunks; l < lines * (c + 1) / chunks; l++) {
        p.scale = scales_[l % axis.c];
        seen |= kernel_.to_u8(y + l * axis.inner, from + l * axis.inner, axis.inner, p);
      }
      if (seen) nan.store(true, std::memory_order_relaxed);
    });
    return nan.load();
  }

  const QuantizeF32& kernel_;
  QuantizeParams p_;
  const float* scales_ = nullptr;
  int64_t scale_count_ = 1;
  int axis_ = 0;
  std::vector<int> perm_;
  bool interleaves_ = false, graph_input_ = false;
  std::string source_, name_;
};

template <class T>
void dequantize(float* y, const T* x, int64_t n, int32_t zp, float s) {
  for (int64_t i = 0; i < n; i++) y[i] = float(int32_t(uint32_t(int32_t(x[i])) - uint32_t(zp))) * s;
}

class Dequantize : public Op {
 public:
  explicit Dequantize(const BindContext& ctx) : kernel_(quantize_f32(ctx.isa)) {
    check_arity(ctx, 1, 3);
    dtype_ = ctx.inputs[0].dtype;
    if (dtype_ != DType::u8 && dtype_ != DType::s8 && dtype_ != DType::s32 && dtype_ != DType::u16 &&
        dtype_ != DType::s16)
      ctx.fail("the input must be uint8, int8, uint16, int16 or int32, but is %s", name_of(dtype_));
    check_dtype(ctx, 0, DType::f32);
    const int64_t zp = ctx.step.i("x_zp", 0);
    const int64_t most = dtype_ == DType::s32 ? INT32_MAX : 65535;
    if (zp > most || zp < -most) ctx.fail("x_zp is %lld, which %s does not hold", (long long)zp, name_of(dtype_));
    if (ctx.has(1)) {
      const View& s = ctx.constant(1, DType::f32);
      const int64_t n = s.elements();
      scales_.assign(s.as<float>(), s.as<float>() + n);
      axis_ = normal_axis(ctx.step.i("axis", 1), ctx.inputs[0].rank, ctx.step);
      zps_.assign(size_t(n), int32_t(zp));
      if (ctx.has(2)) {
        const View& z = ctx.constant(2, dtype_);
        if (z.elements() != n)
          ctx.fail("there are %lld zero points but %lld scales", (long long)z.elements(), (long long)n);
        for (int64_t i = 0; i < n; i++) zps_[size_t(i)] = zero_point(z, i);
      }
    } else {
      if (ctx.has(2)) ctx.fail("zero points (input 2) need scales (input 1)");
      scales_ = {float(ctx.step.f("x_scale"))};
      zps_ = {int32_t(zp)};
      axis_ = -1;
    }
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    if (axis_ >= 0 && x[axis_] != int64_t(scales_.size()))
      ctx.fail("there are %zu scales, but axis %d has %lld elements", scales_.size(), axis_, (long long)x[axis_]);
    set_shape(ctx, 0, x);
  }

  void run(RunContext& ctx) const override {
    const View& x = ctx.in[0];
    float* y = ctx.out[0].as<float>();
    const Axis axis(x.shape, axis_ >= 0, axis_);
    const int64_t lines = axis.outer * axis.c;
    if (x.elements() == 0) return;
    if (axis_ < 0) {
      const int64_t n = x.elements(), chunks = ctx.pool.chunks_for(n, kGrain);
      ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
        const int64_t first = n * c / chunks;
        line(x, y, first, n * (c + 1) / chunks - first, 0);
      });
      return;
    }
    const int64_t chunks = std::min(lines, ctx.pool.chunks_for(x.elements(), kGrain));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t l = lines * c / chunks; l < lines * (c + 1) / chunks; l++)
        line(x, y, l * axis.inner, axis.inner, size_t(l % axis.c));
    });
  }

  std::string kernel() const override { return std::string("quantize ") + kernel_.isa; }

 private:
  static int32_t zero_point(const View& z, int64_t i) {
    switch (z.dtype) {
      case DType::u8:
        return z.as<uint8_t>()[i];
      case DType::s8:
        return z.as<int8_t>()[i];
      case DType::u16:
        return z.as<uint16_t>()[i];
      case DType::s16:
        return z.as<int16_t>()[i];
      default:
        return z.as<int32_t>()[i];
    }
  }

  void line(const View& x, float* y, int64_t first, int64_t n, size_t c) const {
    const int32_t zp = zps_[c];
    const float s = scales_[c];
    switch (dtype_) {
      case DType::u8:
        return kernel_.from_u8(y + first, x.as<uint8_t>() + first, n, zp, s);
      case DType::s8:
        return dequantize(y + first, x.as<int8_t>() + first, n, zp, s);
      case DType::u16:
        return dequantize(y + first, x.as<uint16_t>() + first, n, zp, s);
      case DType::s16:
        return dequantize(y + first, x.as<int16_t>() + first, n, zp, s);
      default:
        return dequantize(y + first, x.as<int32_t>() + first, n, zp, s);
    }
  }

  const QuantizeF32& kernel_;
  DType dtype_;
  std::vector<float> scales_;
  std::vector<int32_t> zps_;
  int axis_;
};

}  // namespace

std::unique_ptr<Op> make_Quantize(const BindContext& ctx) { return std::make_unique<Quantize>(ctx); }
std::unique_ptr<Op> make_Dequantize(const BindContext& ctx) { return std::make_unique<Dequantize>(ctx); }

}  // namespace octavo
