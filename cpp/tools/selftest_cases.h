// The cases octavo-selftest runs: every operator that has kernels, over sizes around the tiles, with the extremes.
#pragma once

#include <vector>

#include "tools/one_step.h"

namespace octavo {

// Grouped by operator, in a fixed order; the same seed gives the same bytes on every machine. `scale` multiplies the
// number of random cases.
std::vector<Case> selftest_cases(uint64_t seed, int scale);

}  // namespace octavo
