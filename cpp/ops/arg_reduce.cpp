// ArgMax, ArgMin: s64 index of the extreme along `axis`, the first one (or the last, select_last_index). A NaN is the
// extreme, as in numpy.
#include <algorithm>

#include "ops/copy.h"
#include "ops/half.h"

namespace octavo {
namespace {

inline float plain(Half h) { return float_of(h); }
template <class T>
inline T plain(T v) {
  return v;
}

struct Extent {
  int64_t outer, n, inner;
};

// Answers [from, to) of outer * inner.
template <class T, bool Max, bool Last>
void arg_extreme(const View& x, int64_t* y, const Extent& e, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; i++) {
    const T* p = x.as<T>() + i / e.inner * e.n * e.inner + i % e.inner;
    auto best = plain(p[0]);
    int64_t at = 0;
    for (int64_t k = 1; k < e.n; k++) {
      const auto v = plain(p[k * e.inner]);
      const bool best_nan = !(best == best), nan = !(v == v);
      const bool beyond = Max ? v > best : v < best;
      const bool equal = v == best || (nan && best_nan);
      if ((!best_nan && (beyond || nan)) || (Last && equal)) best = v, at = k;
    }
    y[i] = at;
  }
}

using ArgFunction = void (*)(const View&, int64_t*, const Extent&, int64_t, int64_t);

template <class T>
ArgFunction pick(bool max, bool last) {
  if (max) return last ? arg_extreme<T, true, true> : arg_extreme<T, true, false>;
  return last ? arg_extreme<T, false, true> : arg_extreme<T, false, false>;
}

ArgFunction pick(DType t, bool max, bool last) {
  switch (t) {
    case DType::f32:
      return pick<float>(max, last);
    case DType::f64:
      return pick<double>(max, last);
    case DType::f16:
      return pick<Half>(max, last);
    case DType::u8:
      return pick<uint8_t>(max, last);
    case DType::s8:
      return pick<int8_t>(max, last);
    case DType::u16:
      return pick<uint16_t>(max, last);
    case DType::s16:
      return pick<int16_t>(max, last);
    case DType::u32:
      return pick<uint32_t>(max, last);
    case DType::s32:
      return pick<int32_t>(max, last);
    case DType::u64:
      return pick<uint64_t>(max, last);
    case DType::s64:
      return pick<int64_t>(max, last);
    default:
      return nullptr;
  }
}

class ArgReduce : public Op {
 public:
  ArgReduce(const BindContext& ctx, bool max) : axis_(ctx.step.i("axis", 0)), keep_(ctx.step.i("keepdims", 1) != 0) {
    check_arity(ctx, 1, 1);
    check_dtype(ctx, 0, DType::s64);
    find_ = pick(ctx.inputs[0].dtype, max, ctx.step.i("select_last_index", 0) != 0);
    if (!find_) ctx.fail("%s is not for %s", ctx.step.op.c_str(), name_of(ctx.inputs[0].dtype));
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    const int axis = normal_axis(axis_, std::max(x.rank, 1), ctx.step);  // a scalar is its own extreme
    Shape y;
    for (int a = 0; a < x.rank; a++)
      if (a != axis || keep_) y.dim[y.rank++] = a == axis ? 1 : x.dim[a];
    if (x.rank > 0 && x.dim[axis] == 0 && y.elements() != 0) ctx.fail("axis %d is empty and has no extreme", axis);
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View& x = ctx.in[0];
    const int axis = int(axis_ < 0 ? axis_ + x.shape.rank : axis_);
    const Extent e = x.shape.rank == 0
                         ? Extent{1, 1, 1}
                         : Extent{x.shape.span(0, axis), x.shape.dim[axis], x.shape.span(axis + 1, x.shape.rank)};
    const int64_t answers = e.outer * e.inner;
    int64_t* y = ctx.out[0].as<int64_t>();
    const int64_t chunks = std::min(answers, ctx.pool.chunks_for(answers * e.n, 16 << 10));
    if (chunks <= 1) return find_(x, y, e, 0, answers);
    ctx.pool.parallel_for(
        chunks, [&](int64_t chunk, int) { find_(x, y, e, answers * chunk / chunks, answers * (chunk + 1) / chunks); });
  }

 private:
  int64_t axis_;
  bool keep_;
  ArgFunction find_ = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_ArgMax(const BindContext& ctx) { return std::make_unique<ArgReduce>(ctx, true); }
std::unique_ptr<Op> make_ArgMin(const BindContext& ctx) { return std::make_unique<ArgReduce>(ctx, false); }

}  // namespace octavo
