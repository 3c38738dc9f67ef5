// Cast between any two of the dtypes the core holds.
//   float -> integer: toward zero, saturating, NaN gives 0        float -> narrower float: nearest even
//   integer -> integer: modulo 2^bits                            integer -> float: nearest even
//   anything -> bool: != 0 (NaN is true)                         bool -> anything: 0 or 1
// The narrow types (bfloat16, 8 bits and less) go through float64 or int64, which hold all their values; integers of 4
// and 2 bits keep the low bits of that int64.
#include <algorithm>
#include <limits>
#include <type_traits>

#include "core/minifloat.h"
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

bool narrow_int(DType t) { return t == DType::u4 || t == DType::s4 || t == DType::u2 || t == DType::s2; }
bool narrow(DType t) { return narrow_int(t) || t == DType::f8e8m0 || minifloat_of(t) != nullptr; }
bool real(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::f16 || (narrow(t) && !narrow_int(t)); }

struct NarrowRules {
  bool saturate = true;
  PowerRounding rounding = PowerRounding::up;
};

// Narrow numbers as float64s or int64s.
void widen(DType from, const void* in, void* out, DType middle, int64_t n) {
  const uint8_t* x = static_cast<const uint8_t*>(in);
  if (middle == DType::s64) {
    for (int64_t i = 0; i < n; i++) static_cast<int64_t*>(out)[i] = narrow_integer(from, x[i]);
    return;
  }
  double* y = static_cast<double*>(out);
  if (narrow_int(from)) {
    for (int64_t i = 0; i < n; i++) y[i] = narrow_integer(from, x[i]);
  } else if (from == DType::f8e8m0) {
    for (int64_t i = 0; i < n; i++) y[i] = decode_e8m0(x[i]);
  } else {
    const Minifloat& f = *minifloat_of(from);
    const bool wide = from == DType::bf16;
    for (int64_t i = 0; i < n; i++) y[i] = decode(f, wide ? static_cast<const uint16_t*>(in)[i] : x[i]);
  }
}

void narrow_down(const void* in, DType middle, DType to, void* out, int64_t n, const NarrowRules& rules) {
  uint8_t* y = static_cast<uint8_t*>(out);
  if (narrow_int(to)) {
    const int64_t mask = to == DType::u4 || to == DType::s4 ? 15 : 3;
    for (int64_t i = 0; i < n; i++) {
      const int64_t v = middle == DType::s64 ? static_cast<const int64_t*>(in)[i]
                                             : float_to_int<int64_t>(static_cast<const double*>(in)[i]);
      y[i] = uint8_t(v & mask);
    }
    return;
  }
  const double* x = static_cast<const double*>(in);
  if (to == DType::f8e8m0) {
    for (int64_t i = 0; i < n; i++) y[i] = encode_e8m0(x[i], rules.saturate, rules.rounding);
  } else if (to == DType::bf16) {
    for (int64_t i = 0; i < n; i++) static_cast<uint16_t*>(out)[i] = uint16_t(encode(*minifloat_of(to), x[i], false));
  } else {
    const Minifloat& f = *minifloat_of(to);
    for (int64_t i = 0; i < n; i++) y[i] = uint8_t(encode(f, x[i], rules.saturate));
  }
}

class Cast : public Op {
 public:
  explicit Cast(const BindContext& ctx) {
    check_arity(ctx, 1, 1);
    const int64_t to = ctx.step.i("to");
    if (to < 0 || to >= kDTypes || size_of(DType(to)) == 0)
      ctx.fail("it casts to dtype %lld, which is not supported", (long long)to);
    from_ = ctx.inputs[0].dtype, to_ = DType(to);
    if (size_of(from_) == 0) ctx.fail("input 0 has a dtype the core does not hold (%d)", int(from_));
    check_dtype(ctx, 0, to_);
    rules_.saturate = ctx.step.i("saturate", 1) != 0;
    const std::string rounding = ctx.step.s("round_mode", "up");
    if (rounding != "up" && rounding != "down" && rounding != "nearest")
      ctx.fail("round_mode is '%s', expected 'up', 'down' or 'nearest'", rounding.c_str());
    rules_.rounding = rounding == "up"     ? PowerRounding::up
                      : rounding == "down" ? PowerRounding::down
                                           : PowerRounding::nearest;
    // A bool must become 0 or 1 even from a caller's odd byte, so only the other dtypes are copied as they are.
    same_ = from_ == to_ && from_ != DType::boolean && (!narrow(from_) || from_ == DType::bf16);
    middle_ = narrow(from_) || narrow(to_)
                  ? (real(from_) || real(to_) || to_ == DType::boolean ? DType::f64 : DType::s64)
                  : DType::none;
    if (middle_ == DType::none) {
      cast_ = pick(from_, to_);
    } else {
      first_ = narrow(from_) ? nullptr : pick(from_, middle_);
      cast_ = narrow(to_) ? nullptr : pick(middle_, to_);
    }
    same_size_ = size_of(from_) == size_of(to_);
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
    if (chunks <= 1) return range(x.data, y.data, n);
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int) {
      const int64_t from = n * chunk / chunks, to = n * (chunk + 1) / chunks;
      range(x.as<uint8_t>() + size_t(from) * size_of(x.dtype), y.as<uint8_t>() + size_t(from) * size_of(y.dtype),
            to - from);
    });
  }

  bool in_place(int k) const override { return k == 0 && same_size_; }

 private:
  void range(const void* in, void* out, int64_t n) const {
    if (middle_ == DType::none) return cast_(in, out, n);
    constexpr int64_t kPiece = 256;
    alignas(64) double piece[kPiece];  // float64s or int64s
    static_assert(sizeof(double) == sizeof(int64_t));
    const auto* x = static_cast<const uint8_t*>(in);
    auto* y = static_cast<uint8_t*>(out);
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t count = std::min(kPiece, n - i);
      const void* source = x + size_t(i) * size_of(from_);
      void* target = y + size_t(i) * size_of(to_);
      first_ ? first_(source, piece, count) : widen(from_, source, piece, middle_, count);
      cast_ ? cast_(piece, target, count) : narrow_down(piece, middle_, to_, target, count, rules_);
    }
  }

  CastFunction first_ = nullptr, cast_ = nullptr;
  DType from_, to_, middle_ = DType::none;
  NarrowRules rules_;
  bool same_ = false, same_size_ = false;
};

}  // namespace

std::unique_ptr<Op> make_Cast(const BindContext& ctx) { return std::make_unique<Cast>(ctx); }

}  // namespace octavo
