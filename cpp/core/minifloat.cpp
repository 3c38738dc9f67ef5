#include "core/minifloat.h"

#include <limits>

namespace octavo {
namespace {

constexpr Minifloat kBf16{8, 7, 127, Minifloat::kIeee};
constexpr Minifloat kE4M3fn{4, 3, 7, Minifloat::kGreatest};
constexpr Minifloat kE4M3fnuz{4, 3, 8, Minifloat::kNegativeZero};
constexpr Minifloat kE5M2{5, 2, 15, Minifloat::kIeee};
constexpr Minifloat kE5M2fnuz{5, 2, 16, Minifloat::kNegativeZero};
constexpr Minifloat kE2M3{2, 3, 1, Minifloat::kNone};
constexpr Minifloat kE3M2{3, 2, 3, Minifloat::kNone};
constexpr Minifloat kE2M1{2, 1, 1, Minifloat::kNone};

// 2^e, for what a float64 holds as a normal number.
double power_of_two(int e) {
  const uint64_t bits = uint64_t(e + 1023) << 52;
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}

constexpr uint64_t kMantissa = (uint64_t(1) << 52) - 1;

uint64_t bits_of(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  return bits;
}

float quiet_nan(bool negative) {
  const uint32_t bits = negative ? 0xffc00000u : 0x7fc00000u;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

}  // namespace

const Minifloat* minifloat_of(DType t) {
  switch (t) {
    case DType::bf16:
      return &kBf16;
    case DType::f8e4m3fn:
      return &kE4M3fn;
    case DType::f8e4m3fnuz:
      return &kE4M3fnuz;
    case DType::f8e5m2:
      return &kE5M2;
    case DType::f8e5m2fnuz:
      return &kE5M2fnuz;
    case DType::f6e2m3:
      return &kE2M3;
    case DType::f6e3m2:
      return &kE3M2;
    case DType::f4e2m1:
      return &kE2M1;
    default:
      return nullptr;
  }
}

float decode(const Minifloat& f, uint32_t code) {
  const bool negative = code & f.sign_bit();
  const uint32_t magnitude = code & (f.sign_bit() - 1);
  if (f.nan == Minifloat::kNegativeZero && negative && magnitude == 0) return quiet_nan(false);
  if (magnitude > f.greatest_finite()) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    if (f.nan == Minifloat::kIeee && magnitude == f.greatest_finite() + 1) return negative ? -kInfinity : kInfinity;
    return quiet_nan(negative);
  }
  const int e = int(magnitude >> f.mantissa);
  const uint32_t m = magnitude & ((1u << f.mantissa) - 1);
  const int scale = (e > 0 ? e : 1) - f.bias - f.mantissa;
  const double x = double(e > 0 ? m | 1u << f.mantissa : m) * power_of_two(scale);
  return float(negative ? -x : x);
}

uint32_t encode(const Minifloat& f, double x, bool saturate) {
  const uint64_t bits = bits_of(x);
  const uint32_t sign = bits >> 63 ? f.sign_bit() : 0, greatest = f.greatest_finite();
  if (x != x) {
    if (f.nan == Minifloat::kNegativeZero) return f.sign_bit();
    if (f.nan == Minifloat::kNone) return 0;
    return sign | (f.nan == Minifloat::kIeee ? greatest + 1 + (1u << (f.mantissa - 1)) : greatest + 1);
  }
  const int e = int(bits >> 52 & 0x7ff) - 1023, least = 1 - f.bias;
  uint32_t code = 0;
  if (e > f.bias + 2) {
    code = greatest + 1;
  } else if (e >= least - f.mantissa - 1) {
    // |x| = significand * 2^(e - 52), in units of the last place of the code it becomes.
    const uint64_t significand = (bits & kMantissa) | uint64_t(1) << 52;
    const int shift = 52 - f.mantissa + (e < least ? least - e : 0);
    uint64_t units = significand >> shift;
    const uint64_t rest = significand & ((uint64_t(1) << shift) - 1), middle = uint64_t(1) << (shift - 1);
    if (rest > middle || (rest == middle && (units & 1))) units++;
    // A carry out of the mantissa runs into the exponent, as it should.
    code = (e < least ? 0 : uint32_t(e - least) << f.mantissa) + uint32_t(units);
  }
  if (code > greatest) {
    if (saturate || f.nan == Minifloat::kNone) return sign | greatest;
    return f.nan == Minifloat::kNegativeZero ? f.sign_bit() : sign | (greatest + 1);
  }
  return code == 0 && f.nan == Minifloat::kNegativeZero ? 0 : sign | code;
}

float decode_e8m0(uint8_t code) { return code == 255 ? quiet_nan(false) : float(power_of_two(int(code) - 127)); }

uint8_t encode_e8m0(double x, bool saturate, PowerRounding rounding) {
  constexpr uint8_t kNan = 255, kGreatest = 254;
  if (!(x >= 0)) return kNan;
  const uint64_t bits = bits_of(x), m = bits & kMantissa;
  int64_t code = int64_t(bits >> 52 & 0x7ff) - 1023 + 127;
  if (rounding == PowerRounding::up && m != 0) code++;
  if (rounding == PowerRounding::nearest && m >= uint64_t(1) << 51) code++;
  if (code < 0) return saturate ? 0 : kNan;
  if (code > kGreatest) return saturate ? kGreatest : kNan;
  return uint8_t(code);
}

}  // namespace octavo
