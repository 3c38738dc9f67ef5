// The core's own transcendental functions. They use + - * / sqrt, explicit fma and integer bit work only, so they give
// the same bits on every machine, which neither libm nor numpy promises.
#pragma once

#include <cstdint>
#include <string>

namespace octavo {

// In double, relative error below 1e-13 (sin and cos: absolute), IEEE special values as in C.
double exp_exact(double x);
double log_exact(double x);
double erf_exact(double x);
double tanh_exact(double x);
double sigmoid_exact(double x);
double softplus_exact(double x);  // log(1 + e^x)
double pow_exact(double x, double y);
// Beyond 2^20 the argument must be a float32 value (reduction keeps 24 bits of it); any float is then reduced exactly.
double sin_exact(double x);
double cos_exact(double x);
double tan_exact(double x);
double asin_exact(double x);
double acos_exact(double x);
double atan_exact(double x);
double sinh_exact(double x);  // infinite from 710 on
double cosh_exact(double x);
double asinh_exact(double x);  // |x| <= 1e150, or infinite
double acosh_exact(double x);  // likewise
double atanh_exact(double x);

// The functions of the plan's `Unary` operator.
enum class UnaryFn : int32_t {
  None,
  Relu,
  Clip,
  LeakyRelu,
  Elu,
  Sigmoid,
  Silu,
  HardSigmoid,
  HardSwish,
  Tanh,
  Erf,
  Gelu,
  GeluTanh,
  Exp,
  Log,
  Sqrt,
  Reciprocal,
  Neg,
  Abs,
  Floor,
  Ceil,
  Round,
  Softplus,
  Sign,
  Sin,
  Cos,
  Not,
  Tan,
  Asin,
  Acos,
  Atan,
  Sinh,
  Cosh,
  Asinh,
  Acosh,
  Atanh,
  Softsign,
  Selu,
  Celu,
  ThresholdedRelu,
  Shrink,
  Mish,
  BitwiseNot,
};

// What a function means on float32: every SIMD kernel equals this bit for bit (NaN payloads excepted).
// (alpha, beta): Clip (lo, hi); LeakyRelu, Elu, Celu, ThresholdedRelu (alpha, -); HardSigmoid, HardSwish (alpha, beta);
// Selu (alpha, gamma); Shrink (lambd, bias); others ignore them.
//   Relu          0 > x ? 0 : x                      (NaN and -0 pass)
//   Clip          x = lo > x ? lo : x; x = hi < x ? hi : x
//   HardSigmoid   max(0, min(1, alpha * x + beta)), multiply and add rounded separately
//   HardSwish     x * HardSigmoid(x)
//   Elu           x < 0 ? alpha * (exp(x) - 1) : x
//   Silu          x * sigmoid(x)
//   Gelu          x * Phi(x), Phi the normal distribution function; 0 for -infinity
//   GeluTanh      0.5 * x * (1 + tanh(fl(sqrt(2/pi)) * (x + 0.044715 * x^3)))
//   Softsign      x / (1 + |x|)
//   Selu          gamma * Elu(x)
//   Celu          x < 0 ? alpha * (exp(x / alpha) - 1) : x
//   ThresholdedRelu  x > alpha ? x : 0
//   Shrink        x < -lambd ? x + bias : x > lambd ? x - bias : 0
//   Mish          x * (w / (w + 2)), w = e * (e + 2), e = exp(min(x, 20)): x * tanh(softplus(x))
// Exp, Sigmoid, Tanh, Erf (and what is built of them) are float32 polynomials, within 2e-7 of the true value (Exp: two
// units in the last place); Log, Softplus, and the circular and hyperbolic functions are the double ones rounded once.
float unary_f32(UnaryFn fn, float x, float alpha, float beta);

// The same on float64, by the double functions: for those that take no parameters; false for the others.
bool unary_f64(UnaryFn fn, const double* x, double* y, int64_t n);

// "Relu" -> UnaryFn::Relu, "" -> None; false for an unknown name.
bool parse_unary(const std::string& name, UnaryFn& fn);
const char* name_of(UnaryFn fn);
// What ONNX gives alpha and beta when the attributes are absent (Clip: no limits).
void unary_defaults(UnaryFn fn, float& alpha, float& beta);

// x^y on float32: y = 2, 3: repeated multiplication; 1: x; 0.5: sqrt; otherwise pow_exact rounded once.
float pow_f32(float x, float y);
// On float64: whole exponents of up to 64 by repeated multiplication, 0.5: sqrt; otherwise pow_exact.
double pow_f64(double x, double y);

}  // namespace octavo
