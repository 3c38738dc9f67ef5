// Cumulative: y[k] = x[0] fn .. fn x[k] along an axis, from the first element on and in order. exclusive: y[k] leaves
// x[k] out and begins with the identity; reverse: from the last element on. Integers wrap.
#include <algorithm>
#include <type_traits>

#include "ops/copy.h"

namespace octavo {
namespace {

struct Runs {
  int64_t n, inner;
  bool exclusive, reverse;
};

template <class T, bool Prod>
T join(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<std::common_type_t<T, int>>;
    return Prod ? T(U(a) * U(b)) : T(U(a) + U(b));
  } else {
    return Prod ? a * b : a + b;
  }
}

// One block of n * inner elements.
template <class T, bool Prod>
void accumulate(const void* in, void* out, const Runs& r) {
  const T* x = static_cast<const T*>(in);
  T* y = static_cast<T*>(out);
  const int64_t step = r.reverse ? -r.inner : r.inner;
  int64_t at = r.reverse ? (r.n - 1) * r.inner : 0;
  for (int64_t i = 0; i < r.inner; i++) y[at + i] = r.exclusive ? T(Prod) : x[at + i];
  for (int64_t k = 1; k < r.n; k++, at += step) {
    const T *from = r.exclusive ? x + at : x + at + step, *last = y + at;
    T* to = y + at + step;
    for (int64_t i = 0; i < r.inner; i++) to[i] = join<T, Prod>(last[i], from[i]);
  }
}

using Accumulate = void (*)(const void*, void*, const Runs&);

template <bool Prod>
Accumulate pick(DType t) {
  switch (t) {
    case DType::f32:
      return accumulate<float, Prod>;
    case DType::f64:
      return accumulate<double, Prod>;
    case DType::u8:
      return accumulate<uint8_t, Prod>;
    case DType::s8:
      return accumulate<int8_t, Prod>;
    case DType::u32:
      return accumulate<uint32_t, Prod>;
    case DType::s32:
      return accumulate<int32_t, Prod>;
    case DType::u64:
      return accumulate<uint64_t, Prod>;
    case DType::s64:
      return accumulate<int64_t, Prod>;
    default:
      return nullptr;
  }
}

class Cumulative : public Op {
 public:
  explicit Cumulative(const BindContext& ctx) : name_(ctx.step.name) {
    check_arity(ctx, 2, 2);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
    const std::string fn = ctx.step.s("fn", "");
    if (fn != "Sum" && fn != "Prod") ctx.fail("attribute fn: unknown function '%s', expected Sum or Prod", fn.c_str());
    accumulate_ = fn == "Prod" ? pick<true>(ctx.inputs[0].dtype) : pick<false>(ctx.inputs[0].dtype);
    if (!accumulate_) ctx.fail("%s is not supported", name_of(ctx.inputs[0].dtype));
    exclusive_ = ctx.step.i("exclusive", 0) != 0;
    reverse_ = ctx.step.i("reverse", 0) != 0;
  }

  void infer(InferContext& ctx) const override {
    if (ctx.in[0].shape.rank == 0) ctx.fail("a scalar has no axis");
    if (ctx.in[1].elements() != 1) ctx.fail("the axis (input 1) must be one number");
    set_shape(ctx, 0, ctx.in[0].shape);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const int rank = x.shape.rank;
    int64_t axis = int_at(ctx.in[1], 0);
    if (axis < -rank || axis >= rank)
      fail(ErrorKind::invalid_argument, "node '%s' (Cumulative): axis %lld is out of range for %d dimensions",
           name_.c_str(), (long long)axis, rank);
    if (x.elements() == 0) return;
    if (axis < 0) axis += rank;
    const Runs r{x.shape.dim[axis], x.shape.span(int(axis) + 1, rank), exclusive_, reverse_};
    const int64_t blocks = x.shape.span(0, int(axis)), size = r.n * r.inner * int64_t(size_of(x.dtype));
    const int64_t chunks = std::min(blocks, ctx.pool.chunks_for(x.elements(), 16 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t b = blocks * c / chunks; b < blocks * (c + 1) / chunks; b++)
        accumulate_(x.as<uint8_t>() + b * size, y.as<uint8_t>() + b * size, r);
    });
  }

 private:
  std::string name_;
  Accumulate accumulate_ = nullptr;
  bool exclusive_ = false, reverse_ = false;
};

}  // namespace

std::unique_ptr<Op> make_Cumulative(const BindContext& ctx) { return std::make_unique<Cumulative>(ctx); }

}  // namespace octavo
