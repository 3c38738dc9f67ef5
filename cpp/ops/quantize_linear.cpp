// QuantizeLinear and DequantizeLinear as ONNX spells them: run-time parameters, one for all, per axis or per block.
//   y = saturate(rne(fl(x / scale)) + zp);   y = fl(fl32(x - zp) * scale)
// The integer type is any of 8 and 16 bits (and s32 to dequantize); a NaN gives the zero point.
#include <algorithm>

#include "core/arith.h"
#include "kernels/quantize/quantize.h"
#include "ops/copy.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 16 << 10;  // elements of a chunk

bool quantized_type(DType t) { return t == DType::u8 || t == DType::s8 || t == DType::u16 || t == DType::s16; }

int32_t integer_at(const View& v, int64_t i) {
  switch (v.dtype) {
    case DType::u8:
      return v.as<uint8_t>()[i];
    case DType::s8:
      return v.as<int8_t>()[i];
    case DType::u16:
      return v.as<uint16_t>()[i];
    case DType::s16:
      return v.as<int16_t>()[i];
    default:
      return v.as<int32_t>()[i];
  }
}

// Where the parameters of element i are. x is [outer, C, inner]; parameters are one, [C], or with blocks
// [outer, C / block, inner].
struct Spread {
  enum { kOne, kPerAxis, kBlocked } kind = kOne;
  int64_t c = 1, inner = 1, block = 1, blocks = 1;
  int64_t at(int64_t i) const {
    if (kind == kOne) return 0;
    const int64_t line = i / inner, k = line % c;
    return kind == kPerAxis ? k : (line / c * blocks + k / block) * inner + i % inner;
  }
};

class Linear : public Op {
 protected:
  explicit Linear(const BindContext& ctx) {
    check_arity(ctx, 2, 3);
    ctx.need(1, DType::f32);
    block_ = ctx.step.i("block_size", 0);
    if (block_ < 0) ctx.fail("block_size is negative (%lld)", (long long)block_);
    if (block_ > 0 && ctx.inputs[0].rank == 0) ctx.fail("block_size needs an input with axes, not a scalar");
    const int64_t axis = ctx.step.i("axis", 1);  // its default means the only axis of a vector, too
    if (ctx.inputs[0].rank > 0 && (block_ > 0 || ctx.inputs[1].rank > 0))
      axis_ = axis == 1 && ctx.inputs[0].rank == 1 ? 0 : normal_axis(axis, ctx.inputs[0].rank, ctx.step);
  }

 public:
  void infer(InferContext& ctx) const override {
    const Shape &x = ctx.in[0].shape, &s = ctx.in[1].shape;
    if (ctx.has(2) && ctx.in[2].shape.elements() != s.elements()) ctx.fail("scale and zero point differ in shape");
    if (block_ > 0) {
      if (s.rank != x.rank) ctx.fail("blocked scales have rank %d, expected the input's rank %d", s.rank, x.rank);
      for (int i = 0; i < x.rank; i++) {
        const int64_t expected = i == axis_ ? x[i] / block_ + (x[i] % block_ != 0) : x[i];
        if (s[i] != expected)
          ctx.fail("blocked scales have %lld entries on axis %d, expected %lld", (long long)s[i], i,
                   (long long)expected);
      }
    } else if (s.elements() != 1) {
      if (s.rank != 1 || x.rank == 0 || s[0] != x[axis_])
        ctx.fail("scales must be one, or one for each element of axis %d", axis_);
    }
    set_shape(ctx, 0, x);
  }

 protected:
  Spread spread(const View& x, const View& scale) const {
    Spread s;
    if (scale.elements() == 1 && block_ == 0) return s;
    s.kind = block_ > 0 ? Spread::kBlocked : Spread::kPerAxis;
    s.c = x.shape[axis_], s.inner = x.shape.span(axis_ + 1, x.shape.rank);
    if (block_ > 0) s.block = block_, s.blocks = scale.shape[axis_];
    return s;
  }

  int64_t block_ = 0;
  int axis_ = 0;
};

class QuantizeLinear : public Linear {
 public:
  explicit QuantizeLinear(const BindContext& ctx) : Linear(ctx), kernel_(quantize_f32(ctx.isa)) {
    const DType x = ctx.inputs[0].dtype;
    if (x != DType::f32 && x != DType::s32) ctx.fail("the input must be float32 or int32, but is %s", name_of(x));
    dtype_ = ctx.has(2) ? ctx.inputs[2].dtype : DType(ctx.step.i("output_dtype", 0) & 0xff);
    if (dtype_ == DType::none) dtype_ = DType::u8;
    if (!quantized_type(dtype_)) ctx.fail("only uint8, int8, uint16 and int16 outputs are supported");
    check_dtype(ctx, 0, dtype_);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &scale = ctx.in[1], &y = ctx.out[0];
    const View* zero = ctx.inputs > 2 && ctx.in[2].data ? &ctx.in[2] : nullptr;
    const int64_t n = x.elements();
    if (n == 0) return;
    const Spread s = spread(x, scale);
    const bool fast = s.kind == Spread::kOne && x.dtype == DType::f32 && dtype_ == DType::u8;
    const QuantizeParams p = {scale.as<float>()[0], zero ? integer_at(*zero, 0) : 0, 0, 255};
    const int64_t chunks = ctx.pool.chunks_for(n, kGrain);
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = n * c / chunks, last = n * (c + 1) / chunks;
      if (fast)
        kernel_.to_u8(y.as<uint8_t>() + first, x.as<float>() + first, last - first, p);
      else
        range(x, scale, zero, y, s, first, last);
    });
  }

  std::string kernel() const override { return std::string("quantize ") + kernel_.isa; }

 private:
  void range(const View& x, const View& scale, const View* zero, const View& y, const Spread& s, int64_t first,
             int64_t last) const {
    const bool wide = dtype_ == DType::u16 || dtype_ == DType::s16;
    const bool is_signed = dtype_ == DType::s8 || dtype_ == DType::s16;
    const int32_t lo = is_signed ? (wide ? -32768 : -128) : 0;
    const int32_t hi = lo + (wide ? 65535 : 255);
    for (int64_t i = first; i < last; i++) {
      const int64_t k = s.at(i);
      const float v = x.dtype == DType::f32 ? x.as<float>()[i] : float(x.as<int32_t>()[i]);
      const int32_t q = quantize_value(v / scale.as<float>()[k], zero ? integer_at(*zero, k) : 0, lo, hi);
      if (wide)
        y.as<uint16_t>()[i] = uint16_t(q);
      else
        y.as<uint8_t>()[i] = uint8_t(q);
    }
  }

  const QuantizeF32& kernel_;
  DType dtype_;
};

class DequantizeLinear : public Linear {
 public:
  explicit DequantizeLinear(const BindContext& ctx) : Linear(ctx), kernel_(quantize_f32(ctx.isa)) {
    const DType x = ctx.inputs[0].dtype;
    if (!quantized_type(x) && x != DType::s32)
      ctx.fail("the input must be uint8, int8, uint16, int16 or int32, but is %s", name_of(x));
    if (ctx.has(2)) ctx.need(2, x);
    check_dtype(ctx, 0, DType::f32);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &scale = ctx.in[1];
    const View* zero = ctx.inputs > 2 && ctx.in[2].data ? &ctx.in[2] : nullptr;
    float* y = ctx.out[0].as<float>();
    const int64_t n = x.elements();
    if (n == 0) return;
    const Spread s = spread(x, scale);
    const int64_t chunks = ctx.pool.chunks_for(n, kGrain);
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = n * c / chunks, last = n * (c + 1) / chunks;
      if (s.kind == Spread::kOne && x.dtype == DType::u8)
        return kernel_.from_u8(y + first, x.as<uint8_t>() + first, last - first, zero ? integer_at(*zero, 0) : 0,
                               scale.as<float>()[0]);
      for (int64_t i = first; i < last; i++) {
        const int64_t k = s.at(i);
        const uint32_t zp = uint32_t(zero ? integer_at(*zero, k) : 0);
        y[i] = float(int32_t(uint32_t(integer_at(x, i)) - zp)) * scale.as<float>()[k];
      }
    });
  }

  std::string kernel() const override { return std::string("quantize ") + kernel_.isa; }

 private:
  const QuantizeF32& kernel_;
};

}  // namespace

std::unique_ptr<Op> make_QuantizeLinear(const BindContext& ctx) { return std::make_unique<QuantizeLinear>(ctx); }
std::unique_ptr<Op> make_DequantizeLinear(const BindContext& ctx) { return std::make_unique<DequantizeLinear>(ctx); }

}  // namespace octavo
