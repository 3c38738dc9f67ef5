// GridSample: images [N, C, spatial..] read at the points of a grid [N, out.., axes], coordinates in [-1, 1], the last
// axis first. mode nearest, linear, cubic (a = -0.75); padding_mode zeros, border, reflection.
//
// In float64, rounded once at the end: a point gives every axis its taps (index and weight), and the sum goes over the
// last axis' taps first, each in ascending order, from 0: t = t + weight * inner.
#include <algorithm>
#include <cmath>

#include "ops/copy.h"

namespace octavo {
namespace {

constexpr int kAxes = 3;
enum class Mode { nearest, linear, cubic };
enum class Padding { zeros, edge, reflection };

struct Taps {
  int count;
  int64_t index[4];  // -1: outside
  double weight[4];
};

double reflect(double x, double low, double high) {
  const double range = high - low;
  if (!(range > 0.0)) return low;
  const double away = x < low ? low - x : x > high ? x - high : 0.0;
  if (away == 0.0) return x;
  const double times = std::floor(away / range), rest = away - times * range;
  const bool even = std::fmod(times, 2.0) == 0.0;
  return (x < low) == even ? low + rest : high - rest;
}

void cubic_weights(double x, double* w) {
  const double a = -0.75, u = 1.0 - x;
  w[0] = ((a * (x + 1.0) - 5.0 * a) * (x + 1.0) + 8.0 * a) * (x + 1.0) - 4.0 * a;
  w[1] = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  w[2] = ((a + 2.0) * u - (a + 3.0)) * u * u + 1.0;
  w[3] = ((a * (u + 1.0) - 5.0 * a) * (u + 1.0) + 8.0 * a) * (u + 1.0) - 4.0 * a;
}

class GridSample : public Op {
 public:
  explicit GridSample(const BindContext& ctx) : align_(ctx.step.i("align_corners", 0) != 0) {
    check_arity(ctx, 2, 2);
    ctx.need(0, DType::f32);
    ctx.need(1, DType::f32);
    check_dtype(ctx, 0, DType::f32);
    const std::string mode = ctx.step.s("mode", "linear"), padding = ctx.step.s("padding_mode", "zeros");
    mode_ = Mode(one_of(ctx, "mode", mode, {"nearest", "linear", "cubic"}));
    padding_ = Padding(one_of(ctx, "padding_mode", padding, {"zeros", "border", "reflection"}));
  }

  void infer(InferContext& ctx) const override {
    const Shape &x = ctx.in[0].shape, &grid = ctx.in[1].shape;
    const int axes = x.rank - 2;
    if (axes < 1 || axes > kAxes) ctx.fail("the images have %d spatial axes, expected 1 to %d", axes, kAxes);
    if (grid.rank != x.rank || grid[-1] != axes || grid.dim[0] != x.dim[0])
      ctx.fail("the grid must have the shape [images, output sizes.., %d]", axes);
    Shape y = x;
    for (int a = 0; a < axes; a++) y.dim[2 + a] = grid.dim[1 + a];
    set_shape(ctx, 0, y);  // first, for the product below may overflow otherwise
    if (x.span(2, x.rank) == 0 && y.elements() != 0) ctx.fail("the images are empty");
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &grid = ctx.in[1], &y = ctx.out[0];
    if (y.elements() == 0) return;
    const int axes = x.shape.rank - 2;
    const int64_t channels = x.shape.dim[1], points = y.shape.span(2, y.shape.rank), all = y.shape.dim[0] * points;
    const int64_t pixels = x.shape.span(2, x.shape.rank);
    const int64_t chunks = std::min(all, ctx.pool.chunks_for(all * (channels + 4), 2 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      Taps taps[kAxes];
      for (int64_t i = all * c / chunks; i < all * (c + 1) / chunks; i++) {
        const int64_t image = i / points, point = i % points;
        for (int a = 0; a < axes; a++) taps[a] = taps_of(grid.as<float>()[i * axes + axes - 1 - a], x.shape.dim[2 + a]);
        for (int64_t k = 0; k < channels; k++) {
          const float* from = x.as<float>() + (image * channels + k) * pixels;
          y.as<float>()[(image * channels + k) * points + point] = float(sum(from, taps, x.shape.dim + 2, axes, 0, 0));
        }
      }
    });
  }

 private:
  static int one_of(const BindContext& ctx, const char* key, const std::string& value,
                    std::initializer_list<const char*> names) {
    int k = 0;
    for (const char* name : names) {
      if (value == name) return k;
      k++;
    }
    ctx.fail("attribute %s: '%s' is unknown", key, value.c_str());
  }

  Taps taps_of(double v, int64_t n) const {
    const double low = align_ ? 0.0 : -0.5, high = double(n) + (align_ ? -1.0 : -0.5);
    double x = align_ ? (v + 1.0) / 2.0 * double(n - 1) : ((v + 1.0) * double(n) - 1.0) / 2.0;
    // Beyond any image, where integers are safe; NaN goes there too.
    x = !(x > -1e12) ? -1e12 : x < 1e12 ? x : 1e12;
    if (mode_ == Mode::nearest) x = std::nearbyint(x);
    if (x < low || x > high) {
      if (padding_ == Padding::edge) x = std::clamp(x, 0.0, double(n - 1));
      if (padding_ == Padding::reflection) x = reflect(x, low, high);
    }
    Taps t;
    if (mode_ == Mode::nearest) {
      t.count = 1, t.weight[0] = 1.0, t.index[0] = inside(int64_t(x), n, low, high);
      return t;
    }
    const double floor = std::floor(x), part = x - floor;
    t.count = mode_ == Mode::linear ? 2 : 4;
    if (mode_ == Mode::linear)
      t.weight[0] = 1.0 - part, t.weight[1] = part;
    else
      cubic_weights(part, t.weight);
    for (int k = 0; k < t.count; k++)
      t.index[k] = inside(int64_t(floor) + k - (mode_ == Mode::cubic ? 1 : 0), n, low, high);
    return t;
  }

  int64_t inside(int64_t i, int64_t n, double low, double high) const {
    if (padding_ == Padding::zeros) return i >= 0 && i < n ? i : -1;
    if (padding_ == Padding::reflection) i = int64_t(reflect(double(i), low, high));
    return std::clamp<int64_t>(i, 0, n - 1);
  }

  static double sum(const float* x, const Taps* taps, const int64_t* dim, int axes, int axis, int64_t at) {
    if (axis == axes) return double(x[at]);
    double total = 0.0;
    for (int k = 0; k < taps[axis].count; k++) {
      const int64_t i = taps[axis].index[k];
      const double inner = i < 0 ? 0.0 : sum(x, taps, dim, axes, axis + 1, at * dim[axis] + i);
      total = total + taps[axis].weight[k] * inner;
    }
    return total;
  }

  bool align_;
  Mode mode_ = Mode::linear;
  Padding padding_ = Padding::zeros;
};

}  // namespace

std::unique_ptr<Op> make_GridSample(const BindContext& ctx) { return std::make_unique<GridSample>(ctx); }

}  // namespace octavo
