// Inputs for a plan when there are no files: symbolic dimensions filled in, elements from a fixed random sequence.
#pragma once

#include <map>
#include <string>

#include "plan/plan.h"
#include "tools/npy.h"

namespace octavo {

// xorshift64: the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_((seed + 1) * 0x9E3779B97F4A7C15u | 1) {}
  uint32_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return uint32_t(state_ >> 32);
  }
  int64_t between(int64_t low, int64_t high) { return low + int64_t(next() % uint64_t(high - low + 1)); }
  float real(float low, float high) { return low + (high - low) * (float(next() >> 8) * 0x1p-24f); }

 private:
  uint64_t state_;
};

// The declared shape of an input; symbols and unknown sizes take their value from `sizes` (by name; "?" for the
// nameless), else 1.
Shape concrete_shape(const Plan& plan, const ValueDef& v, const std::map<std::string, int64_t>& sizes);

// Floats in [-1, 1), bytes over their whole range, other integers 0 or 1 (valid as token numbers and masks).
void fill_random(Random& random, DType dtype, int64_t elements, void* data);

// "name=number" options: --dim N=4.
std::map<std::string, int64_t> sizes_of(const std::vector<std::string>& options);

std::string describe(const Shape& s);  // "[1, 3, 224, 224]"

}  // namespace octavo
