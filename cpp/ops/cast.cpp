// Cast between any two of the dtypes the core holds.
//   float -> integer: toward zero, saturating, NaN gives 0        float -> narrower float: nearest even
//   integer -> integer: modulo 2^bits                            integer -> float: nearest even
//   anything -> bool: != 0 (NaN is true)                         bool -> anything: 0 or 1
#include <algorithm>
#include <limits>
#include <type_traits>

#include "ops/copy.h"
#include "ops/half.h"

namespace octavo {
namespace {

struct Bool {
  uint8_t byte;
};

template <class To, class From>
inline To float_to_int(From v) {
  // Both bounds are powers of two (or their negatives), so they are exact in From.
  constexpr From low = From(std::numeric_limits<To>::min());
  constexpr From past = From(uint64_t(1) << (std::numeric_limits<To>::digits - 1)) * From(2);
  if (!(v == v)) return 0;
  if (v >= past) return std::numeric_limits<To>::max();
  if (v < low) return std::numeric_limits<To>::min();  // low itself converts; for unsigned To this is v < 0
  return To(v);
}

template <class To, class From>
inline To convert(From v) {
  if constexpr (std::is_same_v<From, Half>) {
    return convert<To>(float_of(v));
  } else if constexpr (std::is_same_v<From, Bool>) {
    return convert<To>(uint8_t(v.byte != 0));
  } else if constexpr (std::is_same_v<To, Bool>) {
    return Bool{uint8_t(v != 0)};
  } else if constexpr (std::is_same_v<To, Half>) {
    return half_of(double(v));  // integers above 2^53 are infinite anyway, so nothing is rounded twice
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return float_to_int<To>(v);
  } else {
    return To(v);
  }
}

template <class From, class To>
void cast_run(const void* in, void* out, int64_t n) {
  const From* x = static_cast<const From*>(in);
  To* y = static_cast<To*>(out);
  for (int64_t i = 0; i < n; i++) y[i] = convert<To>(x[i]);
}

using CastFunction = void (*)(const void*, void*, int64_t);

template <class From>
CastFunction pick_to(DType to) {
  switch (to) {
    case DType::f32:
      return cast_run<From, float>;
    case DType::f64:
      return cast_run<From, double>;
    case DType::f16:
      return cast_run<From, Half>;
    case DType::u8:
      return cast_run<From, uint8_t>;
    case DType::s8:
      return cast_run<From, int8_t>;
    case DType::u16:
      return cast_run<From, uint16_t>;
    case DType::s16:
      return cast_run<From, int16_t>;
    case DType::u32:
      return cast_run<From, uint32_t>;
    case DType::s32:
      return cast_run<From, int32_t>;
    case DType::u64:
      return cast_run<From, uint64_t>;
    case DType::s64:
      return cast_run<From, int64_t>;
    case DType::boolean:
      return cast_run<From, Bool>;
    default:
      return nullptr;
  }
}

CastFunction pick(DType from, DType to) {
  switch (from) {
    case DType::f32:
      return pick_to<float>(to);
    case DType::f64:
      return pick_to<double>(to);
    case DType::f16:
      return pick_to<Half>(to);
    case DType::u8:
      return pick_to<uint8_t>(to);
    case DType::s8:
      return pick_to<int8_t>(to);
    case DType::u16:
      return pick_to<uint16_t>(to);
    case DType::s16:
      return pick_to<int16_t>(to);
    case DType::u32:
      return pick_to<uint32_t>(to);
    case DType::s32:
      return pick_to<int32_t>(to);
    case DType::u64:
      return pick_to<uint64_t>(to);
    case DType::s64:
      return pick_to<int64_t>(to);
    case DType::boolean:
      return pick_to<Bool>(to);
    default:
      return nullptr;
  }
}

class Cast : public Op {
 public:
  explicit Cast(const BindContext& ctx) {
    check_arity(ctx, 1, 1);
    const int64_t to = ctx.step.i("to");
    if (to < 0 || to > 255 || size_of(DType(to)) == 0)
      ctx.fail("it casts to dtype %lld, which is not supported", (long long)to);
    const DType from = ctx.inputs[0].dtype;
    if (size_of(from) == 0) ctx.fail("input 0 has a dtype the core does not hold (%d)", int(from));
    check_dtype(ctx, 0, DType(to));
    // A bool must become 0 or 1 even from a caller's odd byte, so only the other dtypes are copied as they are.
    same_ = from == DType(to) && from != DType::boolean;
    cast_ = pick(from, DType(to));
    same_size_ = size_of(from) == size_of(DType(to));
  }

  void infer(InferContext& ctx) const override { set_shape(ctx, 0, ctx.in[0].shape); }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    if (same_) {
      if (x.data != y.data) copy_bytes(ctx.pool, x.bytes(), x.data, y.data);
      return;
    }
    const int64_t n = x.elements();
    const int64_t chunks = ctx.pool.chunks_for(n, 16 << 10);
    if (chunks <= 1) return cast_(x.data, y.data, n);
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int) {
      const int64_t from = n * chunk / chunks, to = n * (chunk + 1) / chunks;
      cast_(x.as<uint8_t>() + size_t(from) * size_of(x.dtype), y.as<uint8_t>() + size_t(from) * size_of(y.dtype),
            to - from);
    });
  }

  bool in_place(int k) const override { return k == 0 && same_size_; }

 private:
  CastFunction cast_ = nullptr;
  bool same_ = false, same_size_ = false;
};

}  // namespace

std::unique_ptr<Op> make_Cast(const BindContext& ctx) { return std::make_unique<Cast>(ctx); }

}  // namespace octavo
