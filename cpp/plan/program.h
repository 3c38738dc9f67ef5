// A plan bound to this machine.
#pragma once

#include <memory>
#include <vector>

#include "ops/op.h"
#include "plan/plan.h"

namespace octavo {

// The operators of a plan, bound to an ISA level (weights packed). Immutable, so sessions of equal plans share one.
struct Program {
  std::shared_ptr<const Plan> plan;
  Isa isa = Isa::scalar;
  int threads = 1;
  std::vector<std::unique_ptr<Op>> ops;   // one a step; null for Python steps
  std::vector<std::vector<int>> readers;  // value -> steps that read it
  std::vector<int32_t> writer;            // value -> step, or -1
  std::vector<char> is_output;            // value -> is a graph output
  size_t packed_bytes = 0;                // what binding took

  View constant(int32_t value) const {
    const int32_t c = plan->values[value].constant;
    return c < 0 ? View{} : plan->constants[c];
  }
};

// The program of an equal plan that some session of this process still holds, or a new one. A plan that is found equal
// is not kept: the program's own stands for it.
std::shared_ptr<const Program> shared_program(std::shared_ptr<const Plan> plan, Isa isa, int threads);

}  // namespace octavo
