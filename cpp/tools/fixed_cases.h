// A step of the float scheme, as the fixed scheme would have it: other multipliers, everything else the same.
#pragma once

#include "tools/one_step.h"

namespace octavo {

// QConv, QGemm, QAdd, QMul, QAveragePool and QReduceMean without float outputs; others come back as they are.
Case fixed_case(Random& r, Case c);
Case qsoftmax_case(Random& r);

}  // namespace octavo
