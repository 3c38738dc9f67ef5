// Resize. Coordinates are computed in double as onnx.reference does; linear and cubic (axes H and W of channels-last
// images) interpolate along W first, then along H:
//   t_h = fl(..fl(fl(c_0 * x_0) + fl(c_1 * x_1)) + ..) over the columns, then the same over the t_h.
// Nearest copies elements of any dtype along any axes. Pixels outside repeat the edge.
#include <cmath>
#include <cstring>

#include "ops/copy.h"
#include "ops/qconv.h"

namespace octavo {
namespace {

enum class Coordinates { half_pixel, pytorch_half_pixel, align_corners, asymmetric, half_pixel_symmetric };
enum class Nearest { round_prefer_floor, round_prefer_ceil, floor, ceil };

// One output position along one axis: up to four source positions with their weights.
struct Taps {
  int64_t at[4];
  float weight[4];
};

class Resize : public Op {
 public:
  explicit Resize(const BindContext& ctx) {
    check_arity(ctx, 1, 3);
    check_same_dtype(ctx, 0, 0);
    const std::string mode = ctx.step.s("mode", "nearest");
    taps_ = mode == "nearest" ? 1 : mode == "linear" ? 2 : mode == "cubic" ? 4 : 0;
    if (taps_ == 0) ctx.fail("mode '%s' is unknown; expected nearest, linear or cubic", mode.c_str());
    if (taps_ > 1) ctx.need(0, DType::f32);
    if (ctx.has(1)) check_index_dtype(ctx, 1);
    if (ctx.has(2)) ctx.need(2, DType::f32);
    if (!ctx.has(1) && !ctx.has(2)) ctx.fail("neither sizes (input 1) nor scales (input 2) are given");
    coordinates_ = Coordinates(
        choice(ctx, "coordinate_transformation_mode", "half_pixel",
               {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"}));
    nearest_ = Nearest(choice(ctx, "nearest_mode", "round_prefer_floor",
                              {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
    cubic_a_ = ctx.step.f("cubic_coeff_a", -0.75);
    exclude_outside_ = ctx.step.i("exclude_outside", 0) != 0;
    if (ctx.step.i("antialias", 0) != 0) ctx.fail("antialias is not supported");
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    Shape y = x;
    if (ctx.has(1)) {
      std::vector<int64_t> sizes;
      if (!ctx.value(1, sizes)) return;
      if (int(sizes.size()) != x.rank) ctx.fail("sizes has %zu entries for %d axes", sizes.size(), x.rank);
      for (int a = 0; a < x.rank; a++) y.dim[a] = sizes[size_t(a)];
    } else {
      const View& s = ctx.in[2];
      if (s.elements() != x.rank) ctx.fail("scales has %lld entries for %d axes", (long long)s.elements(), x.rank);
      if (s.data == nullptr) {
        ctx.need_value = true;
        return;
      }
      for (int a = 0; a < x.rank; a++) {
        const double n = std::floor(double(x.dim[a]) * double(s.as<float>()[a]));
        if (!(s.as<float>()[a] > 0) || !(n < 1e12)) ctx.fail("scale %g is out of range", double(s.as<float>()[a]));
        y.dim[a] = int64_t(n);
      }
    }
    for (int a = 0; a < x.rank; a++)
      if (x.dim[a] == 0 && y.dim[a] != 0) ctx.fail("an empty axis cannot be resized to %lld", (long long)y.dim[a]);
    if (taps_ > 1 && (x.rank < 3 || x.rank > 4 || y[0] != x[0] || y[-1] != x[-1]))
      ctx.fail("linear and cubic modes resize the image axes of [N, H, W, C] or [N, W, C] only");
    set_shape(ctx, 0, y);
  }

  size_t scratch_bytes(const View*, const View* out, int) const override {
    size_t n = 0;
    for (int a = 0; a < out[0].shape.rank; a++) n += size_t(out[0].shape.dim[a]) * sizeof(Taps);
    return n + kAlignment;
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Taps* taps[kMaxRank] = {};
    Taps* next = reinterpret_cast<Taps*>(ctx.scratch);
    for (int a = 0; a < x.shape.rank; a++) {
      const int64_t in = x.shape.dim[a], out = y.shape.dim[a];
      const bool sized = ctx.inputs > 1 && ctx.in[1].dtype != DType::none;
      const double scale = sized || ctx.inputs < 3 ? double(out) / double(in) : double(ctx.in[2].as<float>()[a]);
      for (int64_t o = 0; o < out; o++) next[o] = position(o, in, out, scale);
      taps[a] = next;
      next += out;
    }
    taps_ == 1 ? run_nearest(ctx.pool, x, y, taps) : run_linear(ctx.pool, x, y, taps);
  }

  std::string kernel() const override { return "loop"; }

 private:
  static constexpr size_t kAlignment = 64;

  static int choice(const BindContext& ctx, const char* key, const char* otherwise,
                    const std::vector<const char*>& names) {
    const std::string name = ctx.step.s(key, otherwise);
    for (size_t k = 0; k < names.size(); k++)
      if (name == names[k]) return int(k);
    ctx.fail("attribute %s: '%s' is not supported", key, name.c_str());
  }

  double source(int64_t o, int64_t in, int64_t out, double scale) const {
    const double wide = scale * double(in), x = double(o);
    switch (coordinates_) {
      case Coordinates::align_corners:
        return wide == 1 ? 0.0 : x * double(in - 1) / (wide - 1);
      case Coordinates::asymmetric:
        return x / scale;
      case Coordinates::pytorch_half_pixel:
        return out > 1 ? (x + 0.5) / scale - 0.5 : 0.0;  // ONNX's text; onnx.reference says -0.5 here
      case Coordinates::half_pixel_symmetric:
        return double(in) / 2 * (1 - double(out) / wide) + (x + 0.5) / scale - 0.5;
      default:
        return (x + 0.5) / scale - 0.5;
    }
  }

  Taps position(int64_t o, int64_t in, int64_t out, double scale) const {
    Taps t = {};
    double x = in == out && scale == 1.0 ? double(o) : source(o, in, out, scale);
    const double most = double(in) + 4;
    x = x >= -4 ? (x < most ? x : most) : -4;  // hostile scales and NaN
    const double low = std::floor(x), ratio = x - low;
    const int64_t base = int64_t(low);
    auto inside = [&](int64_t i) { return i < 0 ? 0 : i >= in ? in - 1 : i; };
    if (taps_ == 1) {
      bool up = ratio > 0.5;
      if (nearest_ == Nearest::round_prefer_ceil) up = ratio >= 0.5;
      if (nearest_ == Nearest::floor) up = false;
      if (nearest_ == Nearest::ceil) up = ratio > 0;
      t.at[0] = inside(base + up);
      return t;
    }
    double c[4] = {1 - ratio, ratio, 0, 0};
    const int64_t first = taps_ == 2 ? base : base - 1;
    if (taps_ == 4) {
      const double a = cubic_a_, r = ratio, s = 1 - ratio;
      c[0] = ((a * (r + 1) - 5 * a) * (r + 1) + 8 * a) * (r + 1) - 4 * a;
      c[1] = ((a + 2) * r - (a + 3)) * r * r + 1;
      c[2] = ((a + 2) * s - (a + 3)) * s * s + 1;
      c[3] = ((a * (s + 1) - 5 * a) * (s + 1) + 8 * a) * (s + 1) - 4 * a;
    }
    double sum = 0;
    for (int k = 0; k < taps_; k++) {
      if (exclude_outside_ && (first + k < 0 || first + k >= in)) c[k] = 0;
      sum += c[k];
    }
    for (int k = 0; k < taps_; k++) {
      t.at[k] = inside(first + k);
      t.weight[k] = float(exclude_outside_ ? c[k] / sum : c[k]);
    }
    return t;
  }

  void run_nearest(Region& pool, const View& x, const View& y, const Taps* const* taps) const {
    const size_t size = size_of(x.dtype);
    int rank = y.shape.rank;
    int64_t block = 1;  // trailing axes that stay as they are move as one
    while (rank > 0 && x.shape.dim[rank - 1] == y.shape.dim[rank - 1] &&
           identical(taps[rank - 1], y.shape.dim[rank - 1]))
      block *= y.shape.dim[--rank];
    const int64_t cells = y.shape.span(0, rank);
    const int64_t chunks = std::min(cells, pool.chunks_for(y.elements(), 16 << 10));
    pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t i = cells * c / chunks; i < cells * (c + 1) / chunks; i++) {
        int64_t rest = i, at = 0, stride = block;
        for (int a = rank - 1; a >= 0; a--) {
          at += taps[a][rest % y.shape.dim[a]].at[0] * stride;
          rest /= y.shape.dim[a];
          stride *= x.shape.dim[a];
        }
        std::memcpy(y.as<uint8_t>() + size_t(i * block) * size, x.as<uint8_t>() + size_t(at) * size,
                    size_t(block) * size);
      }
    });
  }

  static bool identical(const Taps* t, int64_t n) {
    for (int64_t i = 0; i < n; i++)
      if (t[i].at[0] != i) return false;
    return true;
  }

  void run_linear(Region& pool, const View& vx, const View& vy, const Taps* const* taps) const {
    const bool one_d = vx.shape.rank == 3;
    const Image x = image_of(vx, one_d), y = image_of(vy, one_d);
    const Taps *th = one_d ? nullptr : taps[1], *tw = taps[one_d ? 1 : 2];
    const int rows = one_d ? 1 : taps_;
    const int64_t pixels = y.n * y.h * y.w;
    const int64_t chunks = std::min(pixels, pool.chunks_for(pixels * y.c * rows * taps_, 32 << 10));
    pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t i = pixels * chunk / chunks; i < pixels * (chunk + 1) / chunks; i++) {
        const int64_t n = i / (y.w * y.h), oy = i / y.w % y.h, ox = i % y.w;
        const float* image = reinterpret_cast<const float*>(x.data) + n * x.image_pitch;
        float* to = reinterpret_cast<float*>(y.data) + i * y.c;
        for (int r = 0; r < rows; r++) {
          const float* line = image + (one_d ? 0 : th[oy].at[r]) * x.row_pitch;
          const Taps& t = tw[ox];
          const float* p[4] = {};
          for (int k = 0; k < taps_; k++) p[k] = line + t.at[k] * x.pixel_pitch;
          for (int64_t c = 0; c < y.c; c++) {
            float v = t.weight[0] * p[0][c];
            for (int k = 1; k < taps_; k++) v = v + t.weight[k] * p[k][c];
            if (!one_d) v = th[oy].weight[r] * v;
            to[c] = r == 0 ? v : to[c] + v;
          }
        }
      }
    });
  }

  int taps_ = 1;
  Coordinates coordinates_;
  Nearest nearest_;
  double cubic_a_;
  bool exclude_outside_;
};

}  // namespace

std::unique_ptr<Op> make_Resize(const BindContext& ctx) { return std::make_unique<Resize>(ctx); }

}  // namespace octavo
