// Unary: one function element by element; what each means on float32 is core/math.h's unary_f32, on float64 unary_f64.
// Integers: Neg and Abs wrap, Sign, Relu, Clip, BitwiseNot. bool: Not.
#include <cmath>
#include <limits>

#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 8192;

template <class T>
T unary_int(UnaryFn fn, T x, T lo, T hi) {
  using U = std::make_unsigned_t<T>;
  switch (fn) {
    case UnaryFn::Neg:
      return T(U(0) - U(x));
    case UnaryFn::BitwiseNot:
      return T(~U(x));
    case UnaryFn::Abs:
      return x < 0 ? T(U(0) - U(x)) : x;
    case UnaryFn::Sign:
      return T((x > 0) - (x < 0));
    case UnaryFn::Relu:
      return x < 0 ? 0 : x;
    default:
      return x < lo ? (lo < hi ? lo : hi) : x > hi ? hi : x;
  }
}

class Unary : public Op {
 public:
  explicit Unary(const BindContext& ctx)
      : act_(parse_activation(ctx, "fn", "")),
        eltwise_(eltwise_f32(ctx.isa)),
        dtype_(ctx.inputs.empty() ? DType::none : ctx.inputs[0].dtype) {
    check_arity(ctx, 1, 1);
    check_same_dtype(ctx, 0, 0);
    if (act_.fn == UnaryFn::None) ctx.fail("attribute fn is missing");
    lo_ = ctx.step.f("lo", -std::numeric_limits<double>::infinity());
    hi_ = ctx.step.f("hi", std::numeric_limits<double>::infinity());
    if (!(lo_ == lo_) || !(hi_ == hi_)) ctx.fail("the limits of Clip must not be NaN");
    if (!defined(act_.fn)) ctx.fail("%s is not defined on %s here", name_of(act_.fn), name_of(dtype_));
  }

  void infer(InferContext& ctx) const override { set_shape(ctx, 0, ctx.in[0].shape); }

  void run(RunContext& ctx) const override {
    const int64_t n = ctx.out[0].elements();
    if (n == 0) return;
    const View &x = ctx.in[0], &y = ctx.out[0];
    const int64_t blocks = (n + kBlock - 1) / kBlock;
    const int64_t chunks = std::min(blocks, ctx.pool.chunks_for(n, 2 * kBlock));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t from = blocks * c / chunks * kBlock, to = std::min(n, blocks * (c + 1) / chunks * kBlock);
      range(x, y, from, to);
    });
  }

  bool in_place(int k) const override { return k == 0; }
  std::string kernel() const override { return dtype_ == DType::f32 ? "eltwise_f32" : "loop"; }

 private:
  bool defined(UnaryFn f) const {
    switch (dtype_) {
      case DType::boolean:
        return f == UnaryFn::Not;
      case DType::f32:
        return f != UnaryFn::Not && f != UnaryFn::BitwiseNot;
      case DType::f64:
        return unary_f64(f, nullptr, nullptr, 0);
      case DType::u8:
      case DType::s8:
      case DType::u16:
      case DType::s16:
      case DType::u32:
      case DType::s32:
      case DType::u64:
      case DType::s64:
        return f == UnaryFn::Neg || f == UnaryFn::Abs || f == UnaryFn::Sign || f == UnaryFn::Relu ||
               f == UnaryFn::Clip || f == UnaryFn::BitwiseNot;
      default:
        return false;
    }
  }

  template <class T>
  void whole(const View& in, const View& out, int64_t from, int64_t n) const {
    const T* x = in.as<T>() + from;
    T* y = out.as<T>() + from;
    auto limit = [](double v) {
      if (v <= double(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
      if (v >= double(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
      return T(v);
    };
    const T lo = limit(std::ceil(lo_)), hi = limit(std::floor(hi_));
    for (int64_t i = 0; i < n; i++) y[i] = unary_int<T>(act_.fn, x[i], lo, hi);
  }
  void range(const View& x, const View& y, int64_t from, int64_t to) const {
    switch (dtype_) {
      case DType::f32:
        return unary_row_f32(eltwise_, int(act_.fn), x.as<float>() + from, y.as<float>() + from, to - from, act_.alpha,
                             act_.beta);
      case DType::f64:
        unary_f64(act_.fn, x.as<double>() + from, y.as<double>() + from, to - from);
        return;
      case DType::u8:
        return whole<uint8_t>(x, y, from, to - from);
      case DType::s8:
        return whole<int8_t>(x, y, from, to - from);
      case DType::u16:
        return whole<uint16_t>(x, y, from, to - from);
      case DType::s16:
        return whole<int16_t>(x, y, from, to - from);
      case DType::u32:
        return whole<uint32_t>(x, y, from, to - from);
      case DType::s32:
        return whole<int32_t>(x, y, from, to - from);
      case DType::u64:
        return whole<uint64_t>(x, y, from, to - from);
      case DType::s64:
        return whole<int64_t>(x, y, from, to - from);
      default:
        for (int64_t i = from; i < to; i++) y.as<uint8_t>()[i] = x.as<uint8_t>()[i] == 0;
    }
  }

  Activation act_;
  const EltwiseF32& eltwise_;
  DType dtype_;
  double lo_, hi_;
};

}  // namespace

std::unique_ptr<Op> make_Unary(const BindContext& ctx) { return std::make_unique<Unary>(ctx); }

}  // namespace octavo
