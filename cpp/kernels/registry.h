// Which kernel serves which level. kernels.def is the only list: one line a (family, ISA).
#pragma once

#include <string>
#include <vector>

#include "core/isa.h"

namespace octavo {

// A kernel family `f` is a POD table of function pointers, `struct F`, in kernels/f/f.h; each ISA file defines one
// `extern const F f_<isa>`. This returns the table of the best level at or below `isa` and notes that it was used.
const void* find_kernel(const char* family, Isa isa);

struct KernelInfo {
  const char* family;
  Isa isa;
  bool exercised;  // some session or test of this process has bound it
};
std::vector<KernelInfo> kernel_list();

}  // namespace octavo
