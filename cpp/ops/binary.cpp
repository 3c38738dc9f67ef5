// Binary: numpy broadcasting of two operands.
//   f32: Add, Sub, Mul, Div, Min, Max (NaN from either side), PRelu (a < 0 ? b * a : a), Pow (pow_f32), Mod; act after
//   it. f64: the same operation by operation (Pow: pow_f64), without act. integers: wrap; Div truncates toward zero,
//   x / 0 = 0, x % 0 = 0; Mod has the divisor's sign (fmod=1: the dividend's); Bitwise*; shifts by the width and more,
//   or by less than nothing, leave 0 (a negative number to the right: -1). And, Or, Xor on bool; comparisons give bool.
#include <cmath>
#include <type_traits>

#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 2048;  // elements between an operation and its activation: both stay in L1

const char* const kNames[] = {"Add",        "Sub",         "Mul",        "Div",           "Pow",        "Min",
                              "Max",        "Mod",         "PRelu",      "And",           "Or",         "Xor",
                              "BitwiseAnd", "BitwiseOr",   "BitwiseXor", "ShiftLeft",     "ShiftRight", "Equal",
                              "Less",       "LessOrEqual", "Greater",    "GreaterOrEqual"};
constexpr int kFunctions = sizeof(kNames) / sizeof(kNames[0]);

bool compares(BinaryFn fn) { return fn >= BinaryFn::Equal; }
bool logical(BinaryFn fn) { return fn >= BinaryFn::And && fn <= BinaryFn::Xor; }
bool bitwise(BinaryFn fn) { return fn >= BinaryFn::BitwiseAnd && fn <= BinaryFn::ShiftRight; }

template <class T>
T mod_float(T a, T b, bool c_style) {
  const T r = std::fmod(a, b);  // exact
  if (c_style || r == T(0) || !(r == r)) return r == T(0) && !c_style ? std::copysign(T(0), b) : r;
  return (r < 0) != (b < 0) ? r + b : r;
}

template <class T>
T power_int(T x, T y) {
  using U = std::make_unsigned_t<std::common_type_t<T, int>>;
  if (y < 0) return x == 1 ? T(1) : x == T(-1) && std::is_signed_v<T> ? T((y & 1) ? -1 : 1) : T(0);
  U r = 1, b = U(x);
  for (auto e = std::make_unsigned_t<T>(y); e; e >>= 1, b *= b)
    if (e & 1) r *= b;
  return T(r);
}

template <class T>
T compute_int(BinaryFn fn, T a, T b, bool c_style) {
  using U = std::make_unsigned_t<std::common_type_t<T, int>>;
  switch (fn) {
    case BinaryFn::Add:
      return T(U(a) + U(b));
    case BinaryFn::Sub:
      return T(U(a) - U(b));
    case BinaryFn::Mul:
      return T(U(a) * U(b));
    case BinaryFn::Div:
      if (b == 0) return 0;
      if (std::is_signed_v<T> && b == T(-1)) return T(U(0) - U(a));
      return T(a / b);
    case BinaryFn::Mod: {
      if (b == 0 || (std::is_signed_v<T> && b == T(-1))) return 0;
      const T r = T(a % b);
      return !c_style && r != 0 && (r < 0) != (b < 0) ? T(r + b) : r;
    }
    case BinaryFn::Min:
      return a < b ? a : b;
    case BinaryFn::Max:
      return a > b ? a : b;
    case BinaryFn::PRelu:
      return a < 0 ? T(U(a) * U(b)) : a;
    case BinaryFn::BitwiseAnd:
      return T(a & b);
    case BinaryFn::BitwiseOr:
      return T(a | b);
    case BinaryFn::BitwiseXor:
      return T(a ^ b);
    case BinaryFn::ShiftLeft:
      return b < 0 || b >= T(8 * sizeof(T)) ? T(0) : T(U(std::make_unsigned_t<T>(a)) << b);
    case BinaryFn::ShiftRight:  // of signed numbers: the sign moves in
      if (b < 0 || b >= T(8 * sizeof(T))) return a < 0 ? T(-1) : T(0);
      return T(a >> b);
    default:
      return power_int<T>(a, b);
  }
}

template <class T>
bool compare(BinaryFn fn, T a, T b) {
  switch (fn) {
    case BinaryFn::Equal:
      return a == b;
    case BinaryFn::Less:
      return a < b;
    case BinaryFn::LessOrEqual:
      return a <= b;
    case BinaryFn::Greater:
      return a > b;
    default:
      return a >= b;
  }
}

// n elements; sa and sb are 0 (one element for all) or 1.
struct Row {
  BinaryFn fn;
  bool c_style;
  const void *a, *b;
  int64_t sa, sb;
  void* y;
  int64_t n;
};

template <class T>
void row_compare(const Row& r) {
  const T *a = static_cast<const T*>(r.a), *b = static_cast<const T*>(r.b);
  uint8_t* y = static_cast<uint8_t*>(r.y);
  for (int64_t i = 0; i < r.n; i++) y[i] = compare<T>(r.fn, a[i * r.sa], b[i * r.sb]);
}

template <class T>
void row_int(const Row& r) {
  if (compares(r.fn)) return row_compare<T>(r);
  const T *a = static_cast<const T*>(r.a), *b = static_cast<const T*>(r.b);
  T* y = static_cast<T*>(r.y);
  for (int64_t i = 0; i < r.n; i++) y[i] = compute_int<T>(r.fn, a[i * r.sa], b[i * r.sb], r.c_style);
}

double compute_f64(BinaryFn fn, double a, double b, bool c_style) {
  switch (fn) {
    case BinaryFn::Add:
      return a + b;
    case BinaryFn::Sub:
      return a - b;
    case BinaryFn::Mul:
      return a * b;
    case BinaryFn::Div:
      return a / b;
    case BinaryFn::Mod:
      return mod_float(a, b, c_style);
    case BinaryFn::Min:
      return !(a == a) ? a : a < b ? a : b;
    case BinaryFn::Max:
      return !(a == a) ? a : a > b ? a : b;
    case BinaryFn::PRelu:
      return a < 0 ? b * a : a;
    default:
      return pow_f64(a, b);
  }
}

void row_f64(const Row& r) {
  if (compares(r.fn)) return row_compare<double>(r);
  const double *a = static_cast<const double*>(r.a), *b = static_cast<const double*>(r.b);
  double* y = static_cast<double*>(r.y);
  for (int64_t i = 0; i < r.n; i++) y[i] = compute_f64(r.fn, a[i * r.sa], b[i * r.sb], r.c_style);
}

void row_bool(const Row& r) {
  if (compares(r.fn)) return row_compare<uint8_t>(r);
  const uint8_t *a = static_cast<const uint8_t*>(r.a), *b = static_cast<const uint8_t*>(r.b);
  uint8_t* y = static_cast<uint8_t*>(r.y);
  for (int64_t i = 0; i < r.n; i++) {
    const bool u = a[i * r.sa] != 0, v = b[i * r.sb] != 0;
    y[i] = r.fn == BinaryFn::And ? u && v : r.fn == BinaryFn::Or ? u || v : u != v;
  }
}

class Binary : public Op {
 public:
  explicit Binary(const BindContext& ctx) : act_(parse_activation(ctx, "act", "act_")), eltwise_(eltwise_f32(ctx.isa)) {
    check_arity(ctx, 2, 2);
    const std::string name = ctx.step.s("fn", "");
    int k = 0;
    while (k < kFunctions && name != kNames[k]) k++;
    if (k == kFunctions) ctx.fail("attribute fn: unknown function '%s'", name.c_str());
    fn_ = BinaryFn(k);
    c_style_ = ctx.step.i("fmod", 0) != 0;
    dtype_ = ctx.inputs[0].dtype;
    ctx.need(1, dtype_);
    check_dtype(ctx, 0, compares(fn_) ? DType::boolean : dtype_);
    const bool boolean = dtype_ == DType::boolean;
    const bool real = dtype_ == DType::f32 || dtype_ == DType::f64;
    if ((logical(fn_) != boolean && !(boolean && fn_ == BinaryFn::Equal)) || (real && bitwise(fn_)))
      ctx.fail("%s is not defined on %s", kNames[k], name_of(dtype_));
    switch (dtype_) {
      case DType::f32:
        break;
      case DType::boolean:
        row_ = row_bool;
        break;
      case DType::u8:
        row_ = row_int<uint8_t>;
        break;
      case DType::s8:
        row_ = row_int<int8_t>;
        break;
      case DType::f64:
        row_ = row_f64;
        break;
      case DType::u16:
        row_ = row_int<uint16_t>;
        break;
      case DType::s16:
        row_ = row_int<int16_t>;
        break;
      case DType::u32:
        row_ = row_int<uint32_t>;
        break;
      case DType::u64:
        row_ = row_int<uint64_t>;
        break;
      case DType::s32:
        row_ = row_int<int32_t>;
        break;
      case DType::s64:
        row_ = row_int<int64_t>;
        break;
      default:
        ctx.fail("%s is not supported", name_of(dtype_));
    }
    if (act_.fn != UnaryFn::None && (dtype_ != DType::f32 || compares(fn_)))
      ctx.fail("an activation needs a float32 result");
  }

  void infer(InferContext& ctx) const override {
    Shape y;
    if (!broadcast(ctx.in[0].shape, ctx.in[1].shape, y)) ctx.fail("the operands' shapes do not broadcast");
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Loops l = plan(ctx.in[0], ctx.in[1], ctx.out[0]);
    int64_t rows = 1;
    for (int a = 0; a + 1 < l.rank; a++) rows *= l.dim[a];
    const int64_t inner = l.dim[l.rank - 1], pieces = (inner + kBlock - 1) / kBlock;
    const int64_t units = rows * pieces;
    const int64_t chunks = std::min(units, ctx.pool.chunks_for(rows * inner, 16 << 10));
    const size_t size = size_of(dtype_), out_size = size_of(ctx.out[0].dtype);
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t u = units * c / chunks; u < units * (c + 1) / chunks; u++) {
        int64_t rest = u / pieces, ia = 0, ib = 0, iy = 0;
        for (int a = l.rank - 2; a >= 0; a--) {
          const int64_t i = rest % l.dim[a];
          rest /= l.dim[a];
          ia += i * l.a[a], ib += i * l.b[a], iy += i * l.y[a];
        }
        const int64_t from = u % pieces * kBlock;
        Row r{
            fn_, c_style_, nullptr, nullptr, l.a[l.rank - 1], l.b[l.rank - 1], nullptr, std::min(kBlock, inner - from)};
        r.a = ctx.in[0].as<uint8_t>() + size_t(ia + from * r.sa) * size;
        r.b = ctx.in[1].as<uint8_t>() + size_t(ib + from * r.sb) * size;
        r.y = ctx.out[0].as<uint8_t>() + size_t(iy + from) * out_size;
        dtype_ == DType::f32 ? row_f32(r) : row_(r);
      }
    });
  }

  // Element by element in order only if the shapes agree, which is known when memory is planned (sizes are compared).
  bool in_place(int k) const override { return k < 2 && !compares(fn_); }
  bool strided_in(int) const override { return true; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return dtype_ == DType::f32 && fn_ < BinaryFn::And ? "eltwise_f32" : "loop"; }

 private:
  // Nested loops over the output, strides in elements (0: broadcast), neighbouring axes joined where all three allow.
  struct Loops {
    int rank = 0;
    int64_t dim[kMaxRank + 1] = {}, a[kMaxRank + 1] = {}, b[kMaxRank + 1] = {}, y[kMaxRank + 1] = {};
  };

  static void element_strides(const View& v, int64_t* s) {
    int64_t n = 1;
    for (int k = v.shape.rank - 1; k >= 0; k--) s[k] = n, n *= v.shape.dim[k];
    if (v.dense()) return;
    const int r = v.shape.rank;
    s[r - 2] = v.pixel_pitch;
    if (r >= 3) s[r - 3] = v.row_pitch;
    if (r >= 4) s[r - 4] = v.image_pitch;
    for (int k = r - 5; k >= 0; k--) s[k] = s[k + 1] * v.shape.dim[k + 1];
  }

  static Loops plan(const View& a, const View& b, const View& y) {
    int64_t sa[kMaxRank] = {}, sb[kMaxRank] = {}, sy[kMaxRank] = {};
    element_strides(a, sa), element_strides(b, sb), element_strides(y, sy);
    Loops l;
    for (int k = 0; k < y.shape.rank; k++) {
      const int64_t n = y.shape.dim[k];
      if (n == 1) continue;
      const int ka = k - (y.shape.rank - a.shape.rank), kb = k - (y.shape.rank - b.shape.rank);
      const int64_t ta = ka >= 0 && a.shape.dim[ka] != 1 ? sa[ka] : 0,
                    tb = kb >= 0 && b.shape.dim[kb] != 1 ? sb[kb] : 0;
      const int p = l.rank - 1;
      if (p >= 0 && l.a[p] == ta * n && l.b[p] == tb * n && l.y[p] == sy[k] * n) {
        l.dim[p] *= n, l.a[p] = ta, l.b[p] = tb, l.y[p] = sy[k];
        continue;
      }
      l.dim[l.rank] = n, l.a[l.rank] = ta, l.b[l.rank] = tb, l.y[l.rank] = sy[k];
      l.rank++;
    }
    // The last loop must step by one element: true of every tensor unless its last axis has size 1 under pitches.
    const int p = l.rank - 1;
    if (p < 0 || l.y[p] != 1 || l.a[p] > 1 || l.b[p] > 1) l.dim[l.rank++] = 1;
    return l;
  }

  void row_f32(const Row& r) const {
    const float *a = static_cast<const float*>(r.a), *b = static_cast<const float*>(r.b);
    if (compares(fn_)) return row_compare<float>(r);
    float* y = static_cast<float*>(r.y);
    const int shape = r.sa == 0 ? (r.sb == 0 ? 3 : 1) : r.sb == 0 ? 2 : 0;
    if (shape == 3) {  // one value for the whole row
      const float v = one(*a, *b);
      std::fill(y, y + r.n, v);
    } else if (!eltwise_.binary(int(fn_), shape, a, b, y, r.n)) {
      for (int64_t i = 0; i < r.n; i++) y[i] = one(a[i * r.sa], b[i * r.sb]);
    }
    if (act_.fn != UnaryFn::None) unary_row_f32(eltwise_, int(act_.fn), y, y, r.n, act_.alpha, act_.beta);
  }

  float one(float a, float b) const {
    if (fn_ == BinaryFn::Pow) return pow_f32(a, b);
    if (fn_ == BinaryFn::Mod) return mod_float(a, b, c_style_);
    float y;
    eltwise_.binary(int(fn_), 0, &a, &b, &y, 1);
    return y;
  }

  BinaryFn fn_ = BinaryFn::Add;
  bool c_style_ = false;
  Activation act_;
  const EltwiseF32& eltwise_;
  DType dtype_;
  void (*row_)(const Row&) = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_Binary(const BindContext& ctx) { return std::make_unique<Binary>(ctx); }

}  // namespace octavo
