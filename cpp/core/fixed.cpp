#include "core/fixed.h"

namespace octavo {
namespace {

int32_t saturated(int64_t x) { return int32_t(x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x); }

// round(2^31 * e^(-2^power)) for power -2 .. 4
constexpr int32_t kPowers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
constexpr int32_t kExpEighth = 1895147668;  // round(2^31 * e^(-1/8))
constexpr int32_t kThird = 715827883;       // round(2^31 / 3)

// exp of a Q0 number in [-1/4, 0): the polynomial of degree 4 around -1/8.
int32_t exp_quarter(int32_t x) {
  x += 1 << 28;
  const int32_t x2 = high_product(x, x), x3 = high_product(x2, x), x4 = high_product(x2, x2);
  const int64_t rest = rounded_shift(high_product(int32_t(rounded_shift(x4, 2)) + x3, kThird) + x2, 1);
  return kExpEighth + high_product(kExpEighth, int32_t(x + rest));
}

}  // namespace

int32_t exp_negative_q5(int32_t x) {
  if (x == 0) return INT32_MAX;
  // x = part - steps: part in [-1/4, 0), steps a multiple of 1/4, whose bits choose the factors.
  constexpr int kFraction = 26;
  constexpr int32_t kQuarter = 1 << (kFraction - 2);
  const int32_t part = (x & (kQuarter - 1)) - kQuarter;
  const int32_t steps = int32_t(uint32_t(part) - uint32_t(x));
  int32_t y = exp_quarter(part * 32);
  for (int i = 0; i < 7; i++)
    if (steps >> (kFraction - 2 + i) & 1) y = high_product(y, kPowers[i]);
  return y;
}

int32_t reciprocal_above_one(int32_t x) {
  const int32_t half = int32_t((int64_t(x) + (int64_t(1) << 31)) >> 1);  // (1 + x) / 2
  int32_t y = 1515870810 + high_product(half, -1010580540);              // 48/17 - 32/17 half, Q2
  for (int i = 0; i < 3; i++) {                                          // Newton
    const int32_t error = (1 << 29) - high_product(half, y);
    y += saturated(int64_t(high_product(y, error)) * 4);
  }
  return saturated(int64_t(y) << 1);
}

}  // namespace octavo
