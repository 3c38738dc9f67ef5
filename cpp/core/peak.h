// What this machine can do at most: loops of independent multiply-add instructions that touch no memory.
#pragma once

#include "core/isa.h"

namespace octavo {

struct Peak {
  const char* instruction = "";  // what was timed; "" when the level has none (scalar)
  double gmacs = 0;              // 10^9 multiply-accumulates a second, all threads together
};

// The exact u8 x s8 product of a level: vpdpbusd, vpmaddwd + vpaddd, sdot, or smlal.
Peak int8_peak(Isa isa, int threads);
// The float32 fused multiply-add of a level.
Peak float_peak(Isa isa, int threads);

}  // namespace octavo
