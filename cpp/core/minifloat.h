// Floats of at most 16 bits: bfloat16 and the 8-, 6- and 4-bit forms of the OCP formats that ONNX names. (float16, the
// common one, has a faster way of its own: half.h.)
#pragma once

#include <cstdint>
#include <cstring>

#include "core/types.h"

namespace octavo {

struct Minifloat {
  // What stands for "not a number": every mantissa but 0 under the greatest exponent (and 0 there is infinity); the
  // greatest code only; the code of negative zero; nothing.
  enum Nan : uint8_t { kIeee, kGreatest, kNegativeZero, kNone };
  int exponent, mantissa, bias;  // bits, bits, and what is taken off the exponent
  Nan nan;

  uint32_t sign_bit() const { return 1u << (exponent + mantissa); }
  uint32_t greatest_finite() const {
    const uint32_t all = sign_bit() - 1;
    return nan == kIeee ? all - (1u << mantissa) : nan == kGreatest ? all - 1 : all;
  }
};

// The format of a dtype, or null: bf16, f8e4m3fn, f8e4m3fnuz, f8e5m2, f8e5m2fnuz, f6e2m3, f6e3m2, f4e2m1.
const Minifloat* minifloat_of(DType t);

// The number behind a code; bits above the sign are ignored.
float decode(const Minifloat& f, uint32_t code);
// Half to even, once, from the float64. What exceeds the greatest finite number by rounding, and infinity, become that
// number when `saturate` (or when the format has nothing else), else infinity or NaN. NaN becomes zero where there is
// none.
uint32_t encode(const Minifloat& f, double x, bool saturate);

// float8e8m0, a power of two: 2^(code - 127), 255 is NaN.
float decode_e8m0(uint8_t code);
enum class PowerRounding : uint8_t { up, down, nearest };  // nearest: 1.5 goes up
// Zero and what is too small become the least code, what is too large the greatest, when `saturate`, else NaN.
// NaN and negative numbers become NaN.
uint8_t encode_e8m0(double x, bool saturate, PowerRounding rounding);

// A signed or unsigned integer of 4 or 2 bits in the low bits of a byte; the bits above are ignored.
inline int32_t narrow_integer(DType t, uint8_t byte) {
  switch (t) {
    case DType::u4:
      return byte & 15;
    case DType::s4:
      return int32_t((byte & 15) ^ 8) - 8;
    case DType::u2:
      return byte & 3;
    default:
      return int32_t((byte & 3) ^ 2) - 2;
  }
}

}  // namespace octavo
