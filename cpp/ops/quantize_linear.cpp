// QuantizeLinear and DequantizeLinear as ONNX spells them: run-time parameters, one for all, per axis or per block.
//   y = saturate(rne(fl(x / scale)) + zp);   y = fl(fl32(x - zp) * scale)
// The quantized type is an integer of 2 to 16 bits (and s32 to dequantize; a NaN gives the zero point) or a float of 4
// to 8 bits (y = fl(x / scale) in that format). x and scale may be float16 or bfloat16: see `precision`.
#include <algorithm>

#include "core/arith.h"
#include "core/minifloat.h"
#include "kernels/quantize/quantize.h"
#include "ops/copy.h"
#include "ops/half.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 16 << 10;  // elements of a chunk

// The integers that tensors are quantized to, and their ranges.
struct Range {
  int32_t lo = 0, hi = 0;
};
Range range_of(DType t) {
  switch (t) {
    case DType::u8:
      return {0, 255};
    case DType::s8:
      return {-128, 127};
    case DType::u16:
      return {0, 65535};
    case DType::s16:
      return {-32768, 32767};
    case DType::u4:
      return {0, 15};
    case DType::s4:
      return {-8, 7};
    case DType::u2:
      return {0, 3};
    case DType::s2:
      return {-2, 1};
    default:
      return {};
  }
}
bool quantized_integer(DType t) { return range_of(t).hi != 0; }
bool quantized_float(DType t) { return minifloat_of(t) != nullptr && t != DType::bf16; }
// What scales, and tensors before and after, may be.
bool plain_float(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

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
    case DType::s32:
      return v.as<int32_t>()[i];
    default:
      return narrow_integer(v.dtype, v.as<uint8_t>()[i]);
  }
}

float float_at(const View& v, int64_t i) {
  switch (v.dtype) {
    case DType::f32:
      return v.as<float>()[i];
    case DType::s32:
      return float(v.as<int32_t>()[i]);
    case DType::f16:
      return float_of(v.as<Half>()[i]);
    case DType::bf16:
      return decode(*minifloat_of(DType::bf16), v.as<uint16_t>()[i]);
    case DType::f8e8m0:
      return decode_e8m0(v.as<uint8_t>()[i]);
    default:
      return decode(*minifloat_of(v.dtype), v.as<uint8_t>()[i]);
  }
}

// x rounded to a float type of at most 32 bits.
float rounded_to(DType t, float x) {
  if (t == DType::f16) return float_of(half_of(x));
  if (t == DType::bf16) return decode(*minifloat_of(t), encode(*minifloat_of(t), x, false));
  return x;
}

void store_float(const View& v, int64_t i, float x) {
  if (v.dtype == DType::f32)
    v.as<float>()[i] = x;
  else if (v.dtype == DType::f16)
    v.as<Half>()[i] = half_of(x);
  else
    v.as<uint16_t>()[i] = uint16_t(encode(*minifloat_of(DType::bf16), x, false));
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
  Linear(const BindContext& ctx, bool integer_scales) {
    check_arity(ctx, 2, 3);
    const DType scale = ctx.has(1) ? ctx.inputs[1].dtype : DType::none;
    if (!plain_float(scale) && scale != DType::f8e8m0 && !(integer_scales && scale == DType::s32))
      ctx.fail("scales must be float32, float16, bfloat16 or float8_e8m0fnu, but are %s", name_of(scale));
    block_ = ctx.step.i("block_size", 0);
    if (block_ < 0) ctx.fail("block_size is negative (%lld)", (long long)block_);
    if (block_ > 0 && ctx.inputs[0].rank == 0) ctx.fail("block_size needs an input with axes, not a scalar");
    axis_ = ctx.step.i("axis", 1);
    if (ctx.inputs[0].rank > 0 && (block_ > 0 || ctx.inputs[1].rank > 0)) check_axis(ctx.inputs[0].rank, ctx.step);
  }

 public:
  void infer(InferContext& ctx) const override {
    const Shape &x = ctx.in[0].shape, &s = ctx.in[1].shape;
    if (ctx.has(2) && ctx.in[2].shape.elements() != s.elements()) ctx.fail("scale and zero point differ in shape");
    if (block_ > 0 || s.elements() != 1) {  // ranks may be unknown until now
      if (x.rank == 0) ctx.fail("a scalar has no axis for several scales or for blocks");
      check_axis(x.rank, ctx.step);
    }
    const int axis = axis_of(x.rank);
    if (block_ > 0) {
      if (s.rank != x.rank) ctx.fail("blocked scales have rank %d, expected the input's rank %d", s.rank, x.rank);
      for (int i = 0; i < x.rank; i++) {
        const int64_t expected = i == axis ? x[i] / block_ + (x[i] % block_ != 0) : x[i];
        if (s[i] != expected)
          ctx.fail("blocked scales have %lld entries on axis %d, expected %lld", (long long)s[i], i,
                   (long long)expected);
      }
    } else if (s.elements() != 1) {
      if (s.rank != 1 || s[0] != x[axis]) ctx.fail("scales must be one, or one for each element of axis %d", axis);
    }
    set_shape(ctx, 0, x);
  }

 protected:
  Spread spread(const View& x, const View& scale) const {
    Spread s;
    if (scale.elements() == 1 && block_ == 0) return s;
    s.kind = block_ > 0 ? Spread::kBlocked : Spread::kPerAxis;
    const int axis = axis_of(x.shape.rank);
    s.c = x.shape[axis], s.inner = x.shape.span(axis + 1, x.shape.rank);
    if (block_ > 0) s.block = block_, s.blocks = scale.shape[axis];
    return s;
  }

  // Axis 1, the default, means the only axis of a vector, too.
  void check_axis(int rank, const StepDef& step) const {
    if (axis_ != 1 || rank != 1) normal_axis(axis_, rank, step);
  }
  int axis_of(int rank) const { return int(axis_ == 1 && rank == 1 ? 0 : axis_ < 0 ? axis_ + rank : axis_); }

  int64_t block_ = 0, axis_ = 1;
};

class QuantizeLinear : public Linear {
 public:
  explicit QuantizeLinear(const BindContext& ctx) : Linear(ctx, true), kernel_(quantize_f32(ctx.isa)) {
    const DType x = ctx.inputs[0].dtype;
    if (!plain_float(x) && x != DType::s32)
      ctx.fail("the input must be float32, float16, bfloat16 or int32, but is %s", name_of(x));
    const int64_t wanted = ctx.step.i("output_dtype", 0);
    if (wanted < 0 || wanted >= kDTypes) ctx.fail("output_dtype is %lld, which is out of range", (long long)wanted);
    dtype_ = ctx.has(2) ? ctx.inputs[2].dtype : DType(wanted);
    if (dtype_ == DType::none) dtype_ = DType::u8;
    if (!quantized_integer(dtype_) && !quantized_float(dtype_))
      ctx.fail("%s outputs are not supported: expected integers of 2 to 16 bits or floats of 4 to 8", name_of(dtype_));
    check_dtype(ctx, 0, dtype_);
    saturate_ = ctx.step.i("saturate", 1) != 0;
    const int64_t precision = ctx.step.i("precision", 0);
    if (precision < 0 || precision >= kDTypes)
      ctx.fail("precision is %lld, which is out of range", (long long)precision);
    precision_ = precision != 0 ? DType(precision) : ctx.inputs[1].dtype;
    if (precision_ == DType::s32 || precision_ == DType::f8e8m0) precision_ = DType::f32;
    if (!plain_float(precision_))
      ctx.fail("precision is %lld, expected float32, float16 or bfloat16", (long long)precision);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &scale = ctx.in[1], &y = ctx.out[0];
    const View* zero = ctx.inputs > 2 && ctx.in[2].data ? &ctx.in[2] : nullptr;
    const int64_t n = x.elements();
    if (n == 0) return;
    const Spread s = spread(x, scale);
    const bool fast = s.kind == Spread::kOne && x.dtype == DType::f32 && scale.dtype == DType::f32 &&
                      precision_ == DType::f32 && dtype_ == DType::u8;
    const int64_t chunks = ctx.pool.chunks_for(n, kGrain);
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = n * c / chunks, last = n * (c + 1) / chunks;
      if (fast) {
        const QuantizeParams p = {scale.as<float>()[0], zero ? integer_at(*zero, 0) : 0, 0, 255};
        kernel_.to_u8(y.as<uint8_t>() + first, x.as<float>() + first, last - first, p);
      } else if (quantized_float(dtype_)) {
        to_floats(x, scale, zero, y, s, first, last);
      } else {
        to_integers(x, scale, zero, y, s, first, last);
      }
    });
  }

  std::string kernel() const override { return std::string("quantize ") + kernel_.isa; }

 private:
  // fl(x / scale), in the precision asked for.
  float quotient(const View& x, int64_t i, const View& scale, int64_t k) const {
    if (precision_ == DType::f32) return float_at(x, i) / float_at(scale, k);
    return rounded_to(precision_, rounded_to(precision_, float_at(x, i)) / rounded_to(precision_, float_at(scale, k)));
  }

  void to_integers(const View& x, const View& scale, const View* zero, const View& y, const Spread& s, int64_t first,
                   int64_t last) const {
    const Range r = range_of(dtype_);
    const uint8_t mask = uint8_t(r.hi - r.lo > 255 ? 255 : r.hi - r.lo);
    for (int64_t i = first; i < last; i++) {
      const int64_t k = s.at(i);
      const int32_t q = quantize_value(quotient(x, i, scale, k), zero ? integer_at(*zero, k) : 0, r.lo, r.hi);
      if (size_of(dtype_) == 2)
        y.as<uint16_t>()[i] = uint16_t(q);
      else
        y.as<uint8_t>()[i] = uint8_t(q) & mask;
    }
  }

  void to_floats(const View& x, const View& scale, const View* zero, const View& y, const Spread& s, int64_t first,
                 int64_t last) const {
    const Minifloat& f = *minifloat_of(dtype_);
    for (int64_t i = first; i < last; i++) {
      const int64_t k = s.at(i);
      float q = quotient(x, i, scale, k);
      if (const float z = zero ? float_at(*zero, k) : 0; z != 0) q = q + z;
      y.as<uint8_t>()[i] = uint8_t(encode(f, q, saturate_));
    }
  }

  const QuantizeF32& kernel_;
  DType dtype_, precision_;
  bool saturate_ = true;
};

class DequantizeLinear : public Linear {
 public:
  explicit DequantizeLinear(const BindContext& ctx) : Linear(ctx, false), kernel_(quantize_f32(ctx.isa)) {
    const DType x = ctx.inputs[0].dtype;
    if (!quantized_integer(x) && !quantized_float(x) && x != DType::s32)
      ctx.fail("the input must hold integers of 2 to 16 bits, int32 or floats of 4 to 8 bits, but holds %s",
               name_of(x));
    if (ctx.has(2)) ctx.need(2, x);
    if (ctx.outputs.size() != 1 || !plain_float(ctx.outputs[0].dtype))
      ctx.fail("the output must be float32, float16 or bfloat16");
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &scale = ctx.in[1], &y = ctx.out[0];
    const View* zero = ctx.inputs > 2 && ctx.in[2].data ? &ctx.in[2] : nullptr;
    const int64_t n = x.elements();
    if (n == 0) return;
    const Spread s = spread(x, scale);
    const bool fast =
        s.kind == Spread::kOne && x.dtype == DType::u8 && scale.dtype == DType::f32 && y.dtype == DType::f32;
    const bool floats = quantized_float(x.dtype);
    const int64_t chunks = ctx.pool.chunks_for(n, kGrain);
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t first = n * c / chunks, last = n * (c + 1) / chunks;
      if (fast)
        return kernel_.from_u8(y.as<float>() + first, x.as<uint8_t>() + first, last - first,
                               zero ? integer_at(*zero, 0) : 0, scale.as<float>()[0]);
      for (int64_t i = first; i < last; i++) {
        const int64_t k = s.at(i);
        float d;
        if (floats) {
          d = float_at(x, i);
          if (const float z = zero ? float_at(*zero, k) : 0; z != 0) d = d - z;
        } else {
          const uint32_t zp = uint32_t(zero ? integer_at(*zero, k) : 0);
          d = float(int32_t(uint32_t(integer_at(x, i)) - zp));
        }
        store_float(y, i, d * float_at(scale, k));
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
