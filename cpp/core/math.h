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
};

// What a function means on float32: every SIMD kernel equals this bit for bit (NaN payloads excepted).
// (alpha, beta): Clip (lo, hi); LeakyRelu, Elu (alpha, -); HardSigmoid, HardSwish (alpha, beta); others ignore them.
//   Relu          0 > x ? 0 : x                      (NaN and -0 pass)
//   Clip          x = lo > x ? lo : x; x = hi < x ? hi : x
//   HardSigmoid   max(0, min(1, alpha * x + beta)), multiply and add rounded separately
//   HardSwish     x * HardSigmoid(x)
//   Elu           x < 0 ? alpha * (exp(x) - 1) : x
//   Silu          x * sigmoid(x)
//   Gelu          0.5 * x * (1 + erf(x * fl(1/sqrt 2)))
//   GeluTanh      0.5 * x * (1 + tanh(fl(sqrt(2/pi)) * (x + 0.044715 * x^3)))
// Exp, Sigmoid, Tanh, Erf (and what is built of them) are float32 polynomials, within 2e-7 of the true value (Exp: two
// units in the last place); Log, Softplus, Sin, Cos are the double functions rounded once.
float unary_f32(UnaryFn fn, float x, float alpha, float beta);

// "Relu" -> UnaryFn::Relu, "" -> None; false for an unknown name.
bool parse_unary(const std::string& name, UnaryFn& fn);
const char* name_of(UnaryFn fn);
// What ONNX gives alpha and beta when the attributes are absent (Clip: no limits).
void unary_defaults(UnaryFn fn, float& alpha, float& beta);

// x^y on float32: y = 2, 3: repeated multiplication; 1: x; 0.5: sqrt; otherwise pow_exact rounded once.
float pow_f32(float x, float y);

}  // namespace octavo
