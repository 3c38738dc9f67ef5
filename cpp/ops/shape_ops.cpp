// Shape, Size: of their input. ConstantOfShape: a tensor of one value. Range: start, start + delta, ... below limit.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/copy.h"

namespace octavo {
namespace {

class ShapeOp : public Op {
 public:
  explicit ShapeOp(const BindContext& ctx) : start_(ctx.step.i("start", 0)), end_(ctx.step.i("end", INT64_MAX)) {
    check_arity(ctx, 1, 1);
    check_dtype(ctx, 0, DType::s64);
  }

  void infer(InferContext& ctx) const override {
    int first, last;
    bounds(ctx.in[0].shape.rank, first, last);
    Shape y;
    y.rank = 1;
    y.dim[0] = last - first;
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    int first, last;
    bounds(ctx.in[0].shape.rank, first, last);
    for (int a = first; a < last; a++) ctx.out[0].as<int64_t>()[a - first] = ctx.in[0].shape.dim[a];
  }

  bool strided_in(int) const override { return true; }  // only looks at the shape

 private:
  void bounds(int rank, int& first, int& last) const {
    auto place = [rank](int64_t v) { return int(std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank)); };
    first = place(start_);
    last = std::max(first, place(end_));
  }

  int64_t start_, end_;
};

class SizeOp : public Op {
 public:
  explicit SizeOp(const BindContext& ctx) {
    check_arity(ctx, 1, 1);
    check_dtype(ctx, 0, DType::s64);
  }
  void infer(InferContext& ctx) const override { set_shape(ctx, 0, Shape{}); }
  void run(RunContext& ctx) const override { ctx.out[0].as<int64_t>()[0] = ctx.in[0].elements(); }
  bool strided_in(int) const override { return true; }
};

class ConstantOfShape : public Op {
 public:
  explicit ConstantOfShape(const BindContext& ctx) {
    check_arity(ctx, 1, 2);
    check_index_dtype(ctx, 0);
    if (!ctx.has(1)) {
      check_dtype(ctx, 0, DType::f32);
      return;
    }
    const View* value = ctx.constant_or_null(1);
    if (!value || value->elements() != 1) ctx.fail("the value must be a constant of one element");
    check_same_dtype(ctx, 1, 0);
    std::memcpy(value_, value->data, size_of(value->dtype));
  }

  void infer(InferContext& ctx) const override {
    std::vector<int64_t> dims;
    if (!ctx.value(0, dims)) return;
    if (dims.size() > size_t(kMaxRank)) ctx.fail("rank %zu is more than the %d supported", dims.size(), kMaxRank);
    Shape y;
    for (int64_t d : dims) y.dim[y.rank++] = d;
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const size_t element = size_of(ctx.out[0].dtype);
    CopyAxes axes;
    axes.add(ctx.out[0].elements(), 0, int64_t(element));
    copy_nd(ctx.pool, axes, element, value_, ctx.out[0].data);
  }

 private:
  uint8_t value_[8] = {};
};

// start + i * delta, each operation rounded to T. Integers wrap instead of overflowing.
template <class T>
void fill_range(const View* in, const View& out) {
  const T start = *in[0].as<T>(), delta = *in[2].as<T>();
  const int64_t n = out.elements();
  T* y = out.as<T>();
  for (int64_t i = 0; i < n; i++) {
    if constexpr (std::is_integral_v<T>) {
      y[i] = T(uint64_t(start) + uint64_t(i) * uint64_t(delta));
    } else {
      const T step = T(i) * delta;
      y[i] = start + step;
    }
  }
}

double float_count(double start, double limit, double delta) {
  const double n = std::ceil((limit - start) / delta);
  return n > 0 ? n : n == n ? 0 : -1;  // -1: not a number
}

// Differences are taken as unsigned, where they cannot overflow.
double int_count(int64_t start, int64_t limit, int64_t delta) {
  if (delta > 0 ? limit <= start : limit >= start) return 0;
  const uint64_t distance = delta > 0 ? uint64_t(limit) - uint64_t(start) : uint64_t(start) - uint64_t(limit);
  const uint64_t step = delta > 0 ? uint64_t(delta) : uint64_t(0) - uint64_t(delta);
  return double((distance - 1) / step + 1);
}

class Range : public Op {
 public:
  explicit Range(const BindContext& ctx) {
    check_arity(ctx, 3, 3);
    for (int k = 0; k < 3; k++) check_same_dtype(ctx, k, 0);
    switch (ctx.inputs[0].dtype) {
      case DType::f32:
        fill_ = fill_range<float>;
        break;
      case DType::f64:
        fill_ = fill_range<double>;
        break;
      case DType::s16:
        fill_ = fill_range<int16_t>;
        break;
      case DType::s32:
        fill_ = fill_range<int32_t>;
        break;
      case DType::s64:
        fill_ = fill_range<int64_t>;
        break;
      default:
        ctx.fail("Range is for float32, float64, int16, int32 and int64, not %s", name_of(ctx.inputs[0].dtype));
    }
  }

  void infer(InferContext& ctx) const override {
    for (int k = 0; k < 3; k++) {
      if (ctx.in[size_t(k)].shape.elements() != 1) ctx.fail("start, limit and delta must be scalars");
      if (!ctx.in[size_t(k)].data) ctx.need_value = true;
    }
    if (ctx.need_value) return;
    const double n = count(ctx);
    if (!(n >= 0 && n <= double(int64_t(1) << 40))) ctx.fail("the range would have %g elements", n);
    Shape y;
    y.rank = 1;
    y.dim[0] = int64_t(n);
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override { fill_(ctx.in, ctx.out[0]); }

 private:
  static double count(InferContext& ctx) {
    const DType t = ctx.in[0].dtype;
    if (t == DType::f32 || t == DType::f64) {
      double v[3];
      for (int k = 0; k < 3; k++)
        v[k] = t == DType::f32 ? double(*ctx.in[size_t(k)].as<float>()) : *ctx.in[size_t(k)].as<double>();
      if (v[2] == 0) ctx.fail("delta is 0");
      return float_count(v[0], v[1], v[2]);
    }
    int64_t v[3];
    for (int k = 0; k < 3; k++)
      v[k] = t == DType::s16 ? int64_t(*ctx.in[size_t(k)].as<int16_t>()) : int_at(ctx.in[size_t(k)], 0);
    if (v[2] == 0) ctx.fail("delta is 0");
    return int_count(v[0], v[1], v[2]);
  }

  void (*fill_)(const View* in, const View& out) = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_Shape(const BindContext& ctx) { return std::make_unique<ShapeOp>(ctx); }
std::unique_ptr<Op> make_Size(const BindContext& ctx) { return std::make_unique<SizeOp>(ctx); }
std::unique_ptr<Op> make_ConstantOfShape(const BindContext& ctx) { return std::make_unique<ConstantOfShape>(ctx); }
std::unique_ptr<Op> make_Range(const BindContext& ctx) { return std::make_unique<Range>(ctx); }

}  // namespace octavo
