// Instruction-set levels: what was compiled in, what this CPU has, what the user asked for.
#pragma once

#include <string>
#include <vector>

namespace octavo {

enum class Isa { scalar, avx2, avxvnni, avx512vnni, neon, neon_dot, neon_i8mm };

const char* name_of(Isa isa);
bool supported(Isa isa);           // this CPU and OS can run it
Isa best_isa();                    // the best supported level
std::vector<Isa> compiled_isas();  // levels of this architecture that have kernels in this build
// The levels to look through for a kernel, best first, ending in scalar.
std::vector<Isa> fallback_chain(Isa isa);
// Empty: OCTAVO_ISA from the environment, else best_isa(). An unknown name or one this CPU lacks is an Error.
Isa choose_isa(const std::string& name);

}  // namespace octavo
