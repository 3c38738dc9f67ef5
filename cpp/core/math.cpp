#include "core/math.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace octavo {
namespace {

#include "core/lane_f32.inl"
#include "core/unary_f32.inl"

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double pow2(int n) {  // n in [-1022, 1023]
  const uint64_t bits = uint64_t(n + 1023) << 52;
  double d;
  std::memcpy(&d, &bits, 8);
  return d;
}

// e^r - 1 for |r| <= 0.36, Taylor to r^14.
double expm1_small(double r) {
  double p = 1.0 / 87178291200.0;
  const double c[] = {1.0 / 6227020800.0,
                      1.0 / 479001600.0,
                      1.0 / 39916800.0,
                      1.0 / 3628800.0,
                      1.0 / 362880.0,
                      1.0 / 40320.0,
                      1.0 / 5040.0,
                      1.0 / 720.0,
                      1.0 / 120.0,
                      1.0 / 24.0,
                      1.0 / 6.0,
                      0.5,
                      1.0};
  for (double k : c) p = std::fma(p, r, k);
  return p * r;
}

double expm1_exact(double x) { return std::fabs(x) <= 0.36 ? expm1_small(x) : exp_exact(x) - 1.0; }

// log(1 + e) for e in (0, 1]: the rounding error of 1 + e is put back.
double log1p_unit(double e) {
  const double u = 1.0 + e;
  return log_exact(u) + (e - (u - 1.0)) / u;
}

// x = quadrant * pi/2 + r, |r| <= pi/4.
double reduce_pi(double x, int& quadrant) {
  if (std::fabs(x) < 1048576.0) {
    const double n = std::nearbyint(x * 0.63661977236758134308);
    double r = std::fma(-n, 0x1.921fb544p+0, x);
    r = std::fma(-n, 0x1.0b4611a6p-34, r);
    r = std::fma(-n, 0x1.3198a2e037073p-69, r);
    quadrant = int(int64_t(n) & 3);
    return r;
  }
  // x = m * 2^e with m of 24 bits: m * 2^e * 2/pi mod 4 needs only bits e-2.. of 2/pi.
  static const uint64_t two_over_pi[] = {0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
                                         0xb7246e3a424dd2e0};
  int e;
  const double fraction = std::frexp(std::fabs(x), &e);
  const uint64_t m = uint64_t(fraction * 16777216.0);
  e -= 24;
  // The window of 128 bits whose top bit has weight 2^(1 - e), so that the product's top bits count quarters turns
  // mod 4.
  const int skip = e - 2 > 0 ? e - 2 : 0;  // bits of 2/pi whose multiples are whole turns
  const int word = skip / 64, bit = skip % 64;
  auto bits_at = [&](int w) -> uint64_t {
    const uint64_t a = w < 5 ? two_over_pi[w] : 0, b = w + 1 < 5 ? two_over_pi[w + 1] : 0;
    return bit ? a << bit | b >> (64 - bit) : a;
  };
  // value = m * (hi : lo) * 2^(e - skip - 128); take it modulo 4 as a 128-bit fraction of 4.
  const uint64_t hi = bits_at(word), lo = bits_at(word + 1);
  const unsigned __int128 low = (unsigned __int128)(lo)*m;
  unsigned __int128 product = (((unsigned __int128)(hi)*m) << 64) + low;  // modulo 2^128
  // Weight of bit 127 is 2^(e - skip - 1): 2 when e - skip == 2, which holds for e >= 2; else shift it there. The bits
  // above bit 127 that were lost are whole turns when e >= 2.
  const int shift = 2 - (e - skip);  // 0 for e >= 2
  const uint64_t carry = uint64_t(((unsigned __int128)(hi)*m + (uint64_t)(low >> 64)) >> 64);
  if (shift > 0) product = (product >> shift) | ((unsigned __int128)carry << (128 - shift));
  int q = int(product >> 126);
  product <<= 2;
  double r = double(int64_t(uint64_t(product >> 64))) * 0x1p-64;  // in [-1/2, 1/2) of a quarter turn
  if (product >> 127) q++;
  r += double(uint64_t(product)) * 0x1p-128;
  r *= 1.57079632679489661923;
  if (x < 0) {
    r = -r;
    q = -q;
  }
  quadrant = q & 3;
  return r;
}

double sin_poly(double r) {
  const double s = r * r;
  double p = -1.0 / 1307674368000.0;
  const double c[] = {1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0};
  for (double k : c) p = std::fma(p, s, k);
  return std::fma(p * s, r, r);
}

double cos_poly(double r) {
  const double s = r * r;
  double p = 1.0 / 20922789888000.0;
  const double c[] = {
      -1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0};
  for (double k : c) p = std::fma(p, s, k);
  return p;
}

double sine(double x, int turn) {
  if (!(std::fabs(x) < kInf)) return kNaN;
  int q;
  const double r = reduce_pi(x, q);
  q = (q + turn) & 3;
  const double v = q & 1 ? cos_poly(r) : sin_poly(r);
  return q & 2 ? -v : v;
}

}  // namespace

double exp_exact(double x) {
  if (!(x == x)) return x;
  if (x > 710.0) return kInf;
  if (x < -746.0) return 0.0;
  const double n = std::nearbyint(x * 1.44269504088896340736);
  double r = std::fma(-n, 0x1.62e42feep-1, x);
  r = std::fma(-n, 0x1.a39ef35793c76p-33, r);
  const int i = int(n), half = i >> 1;
  return (1.0 + expm1_small(r)) * pow2(half) * pow2(i - half);
}

// 2 atanh(s) = log((1 + s) / (1 - s)) for |s| <= 0.1716
static double log_of_ratio(double s) {
  const double t = s * s;
  double p = 1.0 / 25.0;
  for (int k = 23; k >= 3; k -= 2) p = std::fma(p, t, 1.0 / k);
  return std::fma(2.0 * s * t, p, 2.0 * s);
}

// log(1 + y) for y >= 0
static double log1p_positive(double y) { return y < 0.4 ? log_of_ratio(y / (2.0 + y)) : log_exact(1.0 + y); }

double log_exact(double x) {
  if (!(x > 0.0)) return x == 0.0 ? -kInf : kNaN;
  if (x == kInf) return x;
  int e;
  double m = std::frexp(x, &e);
  if (m < 0.70710678118654752440) {
    m *= 2.0;
    e--;
  }
  const double l = log_of_ratio((m - 1.0) / (m + 1.0));
  return std::fma(double(e), 0x1.62e42feep-1, std::fma(double(e), 0x1.a39ef35793c76p-33, l));
}

// erf(x) = 2/sqrt(pi) e^(-x^2) sum 2^k x^(2k+1) / (2k+1)!!, whose terms are all positive.
double erf_exact(double x) {
  if (!(x == x)) return x;
  const double a = std::fabs(x);
  if (a > 6.0) return x > 0 ? 1.0 : -1.0;
  double term = x, sum = x;
  for (int k = 1; k < 400; k++) {
    term = term * (2.0 * a * a) / (2 * k + 1);
    sum += term;
    if (std::fabs(term) <= std::fabs(sum) * 1e-18) break;
  }
  return 1.12837916709551257390 * exp_exact(-a * a) * sum;
}

double tanh_exact(double x) {
  if (!(x == x)) return x;
  const double e = expm1_exact(-2.0 * std::fabs(x));
  return std::copysign(-e / (2.0 + e), x);
}

double sigmoid_exact(double x) {
  const double e = exp_exact(-std::fabs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}

double softplus_exact(double x) {
  if (!(x == x)) return x;
  const double e = exp_exact(-std::fabs(x));
  return (x > 0 ? x : 0.0) + (e > 0 ? log1p_unit(e) : 0.0);
}

double pow_exact(double x, double y) {
  if (y == 0.0 || x == 1.0) return 1.0;
  if (!(x == x) || !(y == y)) return kNaN;
  const bool whole = std::floor(y) == y, odd = whole && std::fabs(y) < 9007199254740992.0 && std::fmod(y, 2.0) != 0.0;
  const double a = std::fabs(x);
  const bool negative = std::signbit(x) && odd;
  if (std::fabs(y) == kInf) return a == 1.0 ? 1.0 : (a > 1.0) == (y > 0) ? kInf : 0.0;
  double r;
  if (a == 0.0 || a == kInf) {
    r = (a == 0.0) == (y > 0) ? 0.0 : kInf;
  } else {
    if (x < 0 && !whole) return kNaN;
    r = exp_exact(y * log_exact(a));
  }
  return negative ? -r : r;
}

// atan by halving: atan(x) = 2 atan(x / (1 + sqrt(1 + x^2))), twice, then Taylor.
double atan_exact(double x) {
  if (!(x == x) || x == 0.0) return x;
  const double a = std::fabs(x);
  double t = a > 1.0 ? 1.0 / a : a;
  for (int k = 0; k < 2; k++) t = t / (1.0 + std::sqrt(std::fma(t, t, 1.0)));
  const double s = t * t;  // at most tan(pi/16)^2 = 0.0396
  double p = -1.0 / 23.0;
  for (int k = 21; k >= 3; k -= 2) p = std::fma(p, s, (k & 2 ? -1.0 : 1.0) / k);
  const double r = 4.0 * std::fma(p * s, t, t);
  return std::copysign(a > 1.0 ? 1.57079632679489661923 - r : r, x);
}

double asin_exact(double x) {
  if (!(std::fabs(x) <= 1.0)) return kNaN;
  return atan_exact(x / std::sqrt((1.0 - x) * (1.0 + x)));
}

double acos_exact(double x) {
  if (!(std::fabs(x) <= 1.0)) return kNaN;
  return 2.0 * atan_exact(std::sqrt((1.0 - x) / (1.0 + x)));
}

double tan_exact(double x) {
  if (x == 0.0) return x;
  if (!(std::fabs(x) < kInf)) return kNaN;
  int q;
  const double r = reduce_pi(x, q), s = sin_poly(r), c = cos_poly(r);
  return q & 1 ? -c / s : s / c;
}

double sinh_exact(double x) {
  const double e = expm1_exact(std::fabs(x));
  return std::copysign(0.5 * (e == kInf ? e : e + e / (e + 1.0)), x);
}

double cosh_exact(double x) {
  const double e = exp_exact(std::fabs(x));
  return 0.5 * (e + 1.0 / e);
}

double asinh_exact(double x) {
  const double a = std::fabs(x);
  if (!(a < kInf)) return x;
  return std::copysign(log1p_positive(a + a * a / (1.0 + std::sqrt(1.0 + a * a))), x);
}

double acosh_exact(double x) {
  if (!(x >= 1.0)) return kNaN;
  const double t = x - 1.0;
  return log1p_positive(t + std::sqrt(t * (t + 2.0)));
}

double atanh_exact(double x) {
  const double a = std::fabs(x);
  if (!(a <= 1.0)) return kNaN;
  return std::copysign(0.5 * log1p_positive(2.0 * a / (1.0 - a)), x);
}

double sin_exact(double x) { return x == 0.0 ? x : sine(x, 0); }
double cos_exact(double x) { return sine(x, 1); }

float pow_f32(float x, float y) {
  if (y == 2.0f) return x * x;
  if (y == 1.0f) return x;
  if (y == 3.0f) return x * x * x;
  if (y == 0.5f) return std::sqrt(x);
  return float(pow_exact(x, y));
}

float unary_f32(UnaryFn fn, float x, float alpha, float beta) {
  switch (fn) {
    case UnaryFn::Relu:
      return f_relu(x);
    case UnaryFn::Clip:
      return f_clip(x, alpha, beta);
    case UnaryFn::LeakyRelu:
      return f_leaky_relu(x, alpha);
    case UnaryFn::Elu:
      return f_elu(x, alpha);
    case UnaryFn::Sigmoid:
      return f_sigmoid(x);
    case UnaryFn::Silu:
      return x * f_sigmoid(x);
    case UnaryFn::HardSigmoid:
      return f_hard_sigmoid(x, alpha, beta);
    case UnaryFn::HardSwish:
      return x * f_hard_sigmoid(x, alpha, beta);
    case UnaryFn::Tanh:
      return f_tanh(x);
    case UnaryFn::Erf:
      return f_erf(x);
    case UnaryFn::Gelu:
      return f_gelu(x);
    case UnaryFn::GeluTanh:
      return f_gelu_tanh(x);
    case UnaryFn::Exp:
      return f_exp(x);
    case UnaryFn::Log:
      return float(log_exact(x));
    case UnaryFn::Sqrt:
      return vsqrt(x);
    case UnaryFn::Reciprocal:
      return 1.0f / x;
    case UnaryFn::Neg:
      return vneg(x);
    case UnaryFn::Abs:
      return vabs(x);
    case UnaryFn::Floor:
      return vfloor(x);
    case UnaryFn::Ceil:
      return vceil(x);
    case UnaryFn::Round:
      return vround(x);
    case UnaryFn::Softplus:
      return float(softplus_exact(x));
    case UnaryFn::Sign:
      return f_sign(x);
    case UnaryFn::Sin:
      return float(sin_exact(x));
    case UnaryFn::Cos:
      return float(cos_exact(x));
    case UnaryFn::Not:
      return x == 0.0f ? 1.0f : 0.0f;
    case UnaryFn::Tan:
      return float(tan_exact(x));
    case UnaryFn::Asin:
      return float(asin_exact(x));
    case UnaryFn::Acos:
      return float(acos_exact(x));
    case UnaryFn::Atan:
      return float(atan_exact(x));
    case UnaryFn::Sinh:
      return float(sinh_exact(x));
    case UnaryFn::Cosh:
      return float(cosh_exact(x));
    case UnaryFn::Asinh:
      return float(asinh_exact(x));
    case UnaryFn::Acosh:
      return float(acosh_exact(x));
    case UnaryFn::Atanh:
      return float(atanh_exact(x));
    case UnaryFn::Softsign:
      return f_softsign(x);
    case UnaryFn::Selu:
      return f_selu(x, alpha, beta);
    case UnaryFn::Celu:
      return f_celu(x, alpha);
    case UnaryFn::ThresholdedRelu:
      return f_thresholded_relu(x, alpha);
    case UnaryFn::Shrink:
      return f_shrink(x, alpha, beta);
    case UnaryFn::Mish:
      return f_mish(x);
    case UnaryFn::BitwiseNot:  // of integers only
    case UnaryFn::None:
      break;
  }
  return x;
}

double pow_f64(double x, double y) {
  if (y == 0.5) return std::sqrt(x);
  if (!(std::fabs(y) <= 64.0) || std::floor(y) != y) return pow_exact(x, y);
  double r = 1.0, b = x;
  for (int e = int(std::fabs(y)); e; e >>= 1, b *= b)
    if (e & 1) r *= b;
  return y < 0 ? 1.0 / r : r;
}

bool unary_f64(UnaryFn fn, const double* x, double* y, int64_t n) {
  const auto each = [&](auto function) {
    for (int64_t i = 0; i < n; i++) y[i] = function(x[i]);
    return true;
  };
  switch (fn) {
    case UnaryFn::Relu:
      return each([](double v) { return 0.0 > v ? 0.0 : v; });
    case UnaryFn::Sigmoid:
      return each(sigmoid_exact);
    case UnaryFn::Tanh:
      return each(tanh_exact);
    case UnaryFn::Erf:
      return each(erf_exact);
    case UnaryFn::Exp:
      return each(exp_exact);
    case UnaryFn::Log:
      return each(log_exact);
    case UnaryFn::Sqrt:
      return each([](double v) { return std::sqrt(v); });
    case UnaryFn::Reciprocal:
      return each([](double v) { return 1.0 / v; });
    case UnaryFn::Neg:
      return each([](double v) { return -v; });
    case UnaryFn::Abs:
      return each([](double v) { return std::fabs(v); });
    case UnaryFn::Floor:
      return each([](double v) { return std::floor(v); });
    case UnaryFn::Ceil:
      return each([](double v) { return std::ceil(v); });
    case UnaryFn::Round:
      return each([](double v) { return std::nearbyint(v); });
    case UnaryFn::Sign:
      return each([](double v) { return v > 0 ? 1.0 : v < 0 ? -1.0 : v == v ? 0.0 : v; });
    case UnaryFn::Softplus:
      return each(softplus_exact);
    default:
      return false;
  }
}

namespace {
const char* const kNames[] = {
    "",           "Relu",  "Clip",      "LeakyRelu", "Elu",      "Sigmoid", "Silu",     "HardSigmoid",
    "HardSwish",  "Tanh",  "Erf",       "Gelu",      "GeluTanh", "Exp",     "Log",      "Sqrt",
    "Reciprocal", "Neg",   "Abs",       "Floor",     "Ceil",     "Round",   "Softplus", "Sign",
    "Sin",        "Cos",   "Not",       "Tan",       "Asin",     "Acos",    "Atan",     "Sinh",
    "Cosh",       "Asinh", "Acosh",     "Atanh",     "Softsign", "Selu",    "Celu",     "ThresholdedRelu",
    "Shrink",     "Mish",  "BitwiseNot"};
}

const char* name_of(UnaryFn fn) { return kNames[int(fn)]; }

bool parse_unary(const std::string& name, UnaryFn& fn) {
  int k = 0;
  for (const char* known : kNames) {
    if (name == known) {
      fn = UnaryFn(k);
      return true;
    }
    k++;
  }
  return false;
}

void unary_defaults(UnaryFn fn, float& alpha, float& beta) {
  alpha = beta = 0.0f;
  switch (fn) {
    case UnaryFn::Clip:
      alpha = -std::numeric_limits<float>::infinity();
      beta = std::numeric_limits<float>::infinity();
      break;
    case UnaryFn::LeakyRelu:
      alpha = 0.01f;
      break;
    case UnaryFn::Elu:
    case UnaryFn::Celu:
    case UnaryFn::ThresholdedRelu:
      alpha = 1.0f;
      break;
    case UnaryFn::Selu:
      alpha = 1.67326319217681884765625f, beta = 1.05070102214813232421875f;
      break;
    case UnaryFn::Shrink:
      alpha = 0.5f;
      break;
    case UnaryFn::HardSigmoid:
      alpha = 0.2f, beta = 0.5f;
      break;
    case UnaryFn::HardSwish:
      alpha = 1.0f / 6.0f, beta = 0.5f;
      break;
    default:
      break;
  }
}

}  // namespace octavo
